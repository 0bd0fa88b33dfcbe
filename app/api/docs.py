"""`/docs`, with everything it needs served from here.

What enters: nothing. What leaves: Swagger UI over `/openapi.json`. This module does not know the
routes that it shows.
"""

from pathlib import Path
from typing import Final

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles

WEB: Final = Path(__file__).parents[1] / "web"
PAGE: Final = WEB / "docs.html"

router = APIRouter(include_in_schema=False)
assets = StaticFiles(directory=WEB)


@router.get("/docs")
async def docs() -> HTMLResponse:
    return HTMLResponse(PAGE.read_text("utf-8"))


@router.get("/")
async def front() -> RedirectResponse:
    return RedirectResponse("/docs")
