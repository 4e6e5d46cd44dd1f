"""A small OpenAI-compatible server of a chat model of transformers: it answers with the log-probabilities of the first token."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import torch

from curation_assets.scoring.ask_llm import AskLLM


class Chat:
    """The model, what it was asked, how the next answers go wrong (a status, "hang up" or "garbage"), the tokens that fit and that are told."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.failing: list[int | str] = []
        self.longest = self.told = 100_000
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()

    def ids(self, content: str) -> list[int]:
        """Return the tokens of a user's turn under the model's chat template."""
        turns = [{"role": "user", "content": content}]
        text = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        return self.tokenizer.encode(text, add_special_tokens=False)

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the first token's likeliest spellings."""
        ids = self.ids(body["messages"][0]["content"])
        with self.lock, torch.inference_mode():
            logs = self.model(torch.tensor([ids])).logits[0, -1].float().log_softmax(-1)
        top = logs.topk(min(body["top_logprobs"], self.told, len(logs)))
        listed = [
            {"token": self.tokenizer.decode([i]), "logprob": p}
            for i, p in zip(top.indices.tolist(), top.values.tolist(), strict=True)
        ]
        first = {**listed[0], "top_logprobs": listed}
        choice = {"index": 0, "message": {"role": "assistant"}, "logprobs": {"content": [first]}}
        return {"choices": [choice], "usage": {"prompt_tokens": len(ids)}}


@contextmanager
def serving(chat: Chat) -> Iterator[str]:
    """Serve on loopback; gives the URL of the API."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with chat.lock:
                chat.asked.append(body)
                chat.keys.append(self.headers["Authorization"])
                failure = chat.failing.pop(0) if chat.failing else None
                chat.at_once += 1
                chat.most_at_once = max(chat.most_at_once, chat.at_once)
            try:
                self._answer(body, failure)
            finally:
                with chat.lock:
                    chat.at_once -= 1

        def _answer(self, body: dict[str, Any], failure: int | str | None) -> None:
            if failure == "hang up":
                self.connection.close()
            elif isinstance(failure, int) and failure:
                self._send(failure, b'{"error": {"message": "not\\nnow"}}')
            elif failure == "garbage":
                self._send(200, b'{"choices": []}')
            elif self.path != "/v1/chat/completions" or body["model"] != "small":
                self._send(404, b'{"error": "no such model"}')
            elif len(chat.ids(body["messages"][0]["content"])) > chat.longest:
                self._send(400, b'{"error": {"message": "the request exceeds the available context size"}}')
            else:
                self._send(200, json.dumps(chat.answer(body)).encode())

        def _send(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def tokens_to_tell(judge: AskLLM, texts: list[str], share: float) -> int:
    """Return how many tokens a server must tell so that "yes" is among them for about a share of the texts."""
    logs = [judge.log_softmax([ids], len(ids))[0] for ids in judge.inputs(texts)]
    places = [int((one > one[list(judge.answer_ids)].max()).sum()) + 1 for one in logs]
    return int(np.quantile(places, share, method="lower"))
