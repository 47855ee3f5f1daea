"""A page on another origin, which tries what it can with the cookie of who looks at it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from playwright.sync_api import Page

from harness.running import Running

PATIENCE = 400
"""Milliseconds that a form or an element of the page has to load."""


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<!doctype html><title>Cats</title><iframe name=inside></iframe>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""


class ForeignSite(Running):
    """A server with that page, on a port of its own."""

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)

    def start(self) -> Self:
        """Serve it."""
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def close(self) -> None:
        """Serve it no more."""
        self._server.shutdown()
        self._server.server_close()

    def address(self, host: str) -> str:
        """The page as ``127.0.0.1``: of the same site as servers there; or as ``localhost``."""
        return f"http://{host}:{self._server.server_address[1]}/"


def read_by(page: Page, target: str, paths: Sequence[str]) -> list[str]:
    """The paths of which the page reads anything, by any means."""
    found: list[str] = page.evaluate(READ, [target, list(paths), PATIENCE])
    return found


def change_by(page: Page, target: str, changes: Sequence[tuple[str, str, str]]) -> list[str]:
    """Send each change (method, path, JSON) in all ways; the paths of which anything was read."""
    found: list[str] = page.evaluate(CHANGE, [target, [list(one) for one in changes], PATIENCE])
    return found


READ = """async ([target, paths, patience]) => {
    const read = [];
    // A script would leave names; frames are counted among them.
    const names = () => Object.keys(window).filter(name => !/^[0-9]+$/.test(name));
    for (const path of paths) {
        for (const mode of ['cors', 'no-cors']) {
            try {
                const answer = await fetch(target + path, {mode, credentials: 'include'});
                if (answer.ok && await answer.text()) read.push(path);
            } catch {}
        }
        const before = names();
        for (const [tag, name] of [['script', 'src'], ['img', 'src'], ['object', 'data']]) {
            const made = document.createElement(tag);
            made[name] = target + path;
            const ended = new Promise(end => { made.onload = () => end(true); made.onerror = end; });
            document.body.append(made);
            const late = new Promise(end => setTimeout(end, patience));
            if (await Promise.race([ended, late]) === true && tag === 'img') read.push(path);
            try { if (made.contentDocument?.body?.textContent) read.push(path); } catch {}
        }
        if (names().join() !== before.join()) read.push(path);
    }
    return [...new Set(read)]; }"""

CHANGE = """async ([target, changes, patience]) => {
    const read = [];
    for (const [method, path, body] of changes) {
        for (const [mode, kind] of [['cors', 'application/json'], ['cors', 'text/plain'],
                                    ['no-cors', 'text/plain']]) {
            try {
                const answer = await fetch(target + path, {
                    method, mode, body, credentials: 'include', headers: {'Content-Type': kind}});
                if (answer.ok) read.push(path);
            } catch {}
        }
        const form = document.createElement('form');
        Object.assign(form, {
            method: 'post', enctype: 'text/plain', action: target + path, target: 'inside'});
        const field = document.createElement('input');
        // What the form puts between name and value ends up in a text of the JSON.
        Object.assign(field, {name: body.slice(0, -1) + ',"reason":"', value: '"}'});
        form.append(field);
        document.body.append(form);
        form.submit();
        await new Promise(end => setTimeout(end, patience));
        navigator.sendBeacon(target + path, new Blob([body], {type: 'text/plain'}));
    }
    return read; }"""
