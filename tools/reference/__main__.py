"""`python -m tools.reference`: write the generated pages of docs/reference."""

from tools.reference.pages import FOLDER, PAGES


def main() -> None:
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page())
        print(FOLDER / name)


if __name__ == "__main__":
    main()
