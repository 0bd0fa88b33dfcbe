"""Questions of the page whose answers a test holds back."""

from tests.service.running import wait_until

QUICK = b'{"recipe": "quick", "epochs": 1, "promote": "never"}'


class Held:
    """Holds back the answers to a URL within the context. The service has answered by then."""

    def __init__(self, page, url, method="GET"):
        self.page, self.url, self.method = page, url, method
        self._answers, self._is_over = [], False

    def __enter__(self):
        self.page.route(self.url, self._hold)
        return self

    def __exit__(self, *_):
        self.release()

    def wait(self, count=1):
        """Wait until so many questions have been asked."""
        assert wait_until(lambda: self.page.evaluate("() => 1") and len(self._answers) >= count)

    def release(self):
        """Send all answers to the page; those that come later are not held back."""
        self._is_over = True  # to unroute would answer the questions that are held back
        for number in range(len(self._answers)):
            self.release_one(number)

    def release_one(self, number):
        """Send one answer to the page."""
        route, response = self._answers[number] or (None, None)
        self._answers[number] = None
        if route:
            route.fulfill(response=response)

    def _hold(self, route):
        if route.request.method == self.method and not self._is_over:
            self._answers.append((route, route.fetch()))
        else:
            route.continue_()


def ended_job(service):
    """Train one epoch, and return the id of the job."""
    job = service.post("/train", QUICK)["id"]
    service.job_until(job, lambda body: body["status"] == "succeeded")
    return job


def cancelled_job(service):
    """Queue a job, cancel it, and return its id."""
    job = service.post("/train", QUICK)["id"]
    service.post(f"/train/{job}/cancel")
    return job
