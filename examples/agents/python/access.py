"""What both transports need: an access token, and patience."""
import http.client, json, os, pathlib, time, urllib.error, urllib.parse, urllib.request

gateway = os.environ.get("NEXUS_GATEWAY", "http://127.0.0.1:8081")
secret = pathlib.Path(os.environ["NEXUS_CREDENTIALS"])  # a folder with client-id and client-secret, as Kubernetes mounts it
FAILURES = (OSError, http.client.HTTPException, ValueError)  # of a request for a token


def retry_after(error):
    """How many seconds to wait after a failure: what the answer says, or one."""
    return float((getattr(getattr(error, "response", error), "headers", None) or {}).get("Retry-After", 1))


class Token:
    def __init__(self):
        self.take()

    def take(self):
        form = {"grant_type": "client_credentials", "client_id": (secret / "client-id").read_text(), "client_secret": (secret / "client-secret").read_text()}
        with urllib.request.urlopen(gateway + "/oauth/token", urllib.parse.urlencode(form).encode(), timeout=10) as answer:
            granted = json.load(answer)
        self.text, self.renew = granted["access_token"], time.monotonic() + granted["expires_in"] * 0.8

    def wait(self, most):
        """So many seconds at most, or less until it is time for a fresh one."""
        return min(most, max(0, self.renew - time.monotonic()))

    def fresh(self):
        """A fresh one once it is time. A failure is tried again, since a session lives as long as its token."""
        if time.monotonic() < self.renew:
            return None
        try:
            self.take()
            return self.text
        except FAILURES as error:
            print(f"no fresh token: {error}", flush=True)
            self.renew = time.monotonic() + retry_after(error)
