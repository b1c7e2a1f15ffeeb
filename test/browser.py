"""A real browser without a window, driven through Chromium's debugging pipe; needs nothing but Chromium.

    with Browser(width=390, height=844, dark=True) as b:
        b.open("http://127.0.0.1:8080/"); b.type("hello"); b.press("Enter"); b.wait("document.title == 'Chat'")
"""
import base64
import json
import os
import shutil
import subprocess
import tempfile
import time

KEYS = {"Enter": ("\r", 13), "Escape": ("", 27), "Tab": ("", 9), "ArrowRight": ("", 39), "ArrowLeft": ("", 37),
        "Home": ("", 36), "End": ("", 35), " ": (" ", 32)}


def chromium():
    """The program's path, or None."""
    names = (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome", "chrome")
    return next(filter(None, (shutil.which(n) for n in names if n)), None)


def thrown(details):
    return details.get("exception", {}).get("description") or details["text"]


class Browser:

    def __init__(self, width=1280, height=800, dark=False, touch=False):
        self.folder = tempfile.mkdtemp(prefix="browser")
        ask, self.out = os.pipe()                       # the browser reads 3 and writes 4
        self.back, answer = os.pipe()

        def pipes():                                    # in the child; first out of each other's way
            high = [os.dup(ask), os.dup(answer)]
            while min(high) < 5:
                high = [os.dup(fd) for fd in high]
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)
        self.process = subprocess.Popen(
            [chromium(), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--hide-scrollbars", "--remote-debugging-pipe", "--user-data-dir=" + self.folder, "about:blank"],
            preexec_fn=pipes, pass_fds=(3, 4), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True)
        os.close(ask)
        os.close(answer)
        self.number, self.rest, self.session, self.log, self.requests = 0, b"", None, [], []
        page = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for part in "Page", "Runtime", "Log", "Network":
            self.call(part + ".enable")
        self.call("Browser.setDownloadBehavior", behavior="deny")
        self.size(width, height, touch)
        self.scheme("dark" if dark else "light")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.session = None
            self.call("Browser.close")
            self.process.wait(10)
        except (OSError, RuntimeError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        os.close(self.out)
        os.close(self.back)
        shutil.rmtree(self.folder, ignore_errors=True)

    def call(self, method, **params):
        self.number += 1
        number, said = self.number, {"id": self.number, "method": method, "params": params}
        if self.session:
            said["sessionId"] = self.session
        os.write(self.out, json.dumps(said).encode() + b"\0")
        while True:
            message = self.hear()
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return message["result"]

    def hear(self):
        """The next message; what the page logs or asks for is kept."""
        while b"\0" not in self.rest:
            more = os.read(self.back, 1 << 20)
            if not more:
                raise RuntimeError("the browser ended")
            self.rest += more
        line, self.rest = self.rest.split(b"\0", 1)
        message = json.loads(line)
        what, p = message.get("method"), message.get("params", {})
        if what == "Runtime.exceptionThrown":
            self.log.append(thrown(p["exceptionDetails"]))
        elif what == "Log.entryAdded":
            self.log.append(f"{p['entry']['level']}: {p['entry']['text']} {p['entry'].get('url', '')}")
        elif what == "Runtime.consoleAPICalled":
            self.log.append(f"{p['type']}: {p['args']}")
        elif what == "Network.requestWillBeSent":
            self.requests.append((p["request"]["method"], p["request"]["url"], p["request"].get("postData")))
        return message

    # ---- what a person does ----

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.wait("document.readyState == 'complete'")

    def type(self, text):
        self.call("Input.insertText", text=text)

    def press(self, key, shift=False):
        text, code = KEYS[key]
        how = dict(key=key, code="Space" if key == " " else key, windowsVirtualKeyCode=code, modifiers=8 * shift)
        down = dict(type="keyDown", text=text) if text else dict(type="rawKeyDown")
        self.call("Input.dispatchKeyEvent", **down, **how)
        self.call("Input.dispatchKeyEvent", type="keyUp", **how)

    def middle(self, selector, nth=0):
        """Where on the screen an element is, or the end: a person could not reach it."""
        at = self.js("(() => { const e = document.querySelectorAll(%s)[%d]; if (!e) return null;"
                     "e.scrollIntoView({block: 'nearest'}); const r = e.getClientRects()[0]; if (!r) return null;"
                     "const x = r.x + r.width / 2, y = r.y + r.height / 2, top = document.elementFromPoint(x, y);"
                     "return e === top || e.contains(top) ? [x, y] : null; })()" % (json.dumps(selector), nth))
        if at is None:
            raise AssertionError(f"{selector} [{nth}] is not to be seen")
        return at

    def hover(self, selector, nth=0):
        x, y = self.middle(selector, nth)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, selector, nth=0):
        x, y = self.middle(selector, nth)
        for kind in "mouseMoved", "mousePressed", "mouseReleased":
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def tap(self, selector, nth=0):
        x, y = self.middle(selector, nth)
        self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    # ---- what a person sees ----

    def js(self, code):
        """The value of an expression on the page; promises are waited for."""
        r = self.call("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True, userGesture=True)
        if "exceptionDetails" in r:
            raise RuntimeError(thrown(r["exceptionDetails"]))
        return r["result"].get("value")

    def wait(self, condition, seconds=30):
        """Until the expression holds; False: it never did."""
        end = time.time() + seconds
        while time.time() < end:
            if self.js(condition):
                return True
            time.sleep(0.05)
        return False

    def text(self, selector):
        return self.js("document.querySelector(%s)?.innerText ?? null" % json.dumps(selector))

    def picture(self, path):
        with open(path, "wb") as f:
            f.write(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def size(self, width, height, touch=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=touch)
        self.call("Emulation.setTouchEmulationEnabled", enabled=touch, maxTouchPoints=5)

    def scheme(self, name):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])
