"""A schema registry with Confluent's REST API (Confluent, Apicurio under `/apis/ccompat/v7`, Karapace)."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from connectors.base import NotALog
from schemas.topics import topic

TIMEOUT_S = 10
TYPE = "application/vnd.schemaregistry.v1+json"


class RegistryError(NotALog):
    """The registry does not answer, or not as it should; one line."""


class Registry:
    """Ids of our schemas, and schemas of ids; both kept, because they never change.

    Parameters
    ----------
    url
        Base URL, e.g. `http://127.0.0.1:8081/apis/ccompat/v7`.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._ids: dict[str, int] = {}
        self._schemas: dict[int, dict[str, Any]] = {}

    def register(self, name: str, subject: str | None = None) -> int:
        """Id of our schema of a topic; registered under `<topic>-value` if it is not there yet."""
        if name not in self._ids:
            body = {"schemaType": "AVRO", "schema": json.dumps(topic(name).avro)}
            answer = self._ask(f"/subjects/{subject or name}-value/versions", body)
            self._ids[name] = int(answer["id"])
            self._schemas[self._ids[name]] = topic(name).avro
        return self._ids[name]

    def schema(self, number: int) -> dict[str, Any]:
        """The schema of an id.

        Raises
        ------
        RegistryError
            Unknown, or no answer.
        """
        if number not in self._schemas:
            found = json.loads(self._ask(f"/schemas/ids/{number}")["schema"])
            if not isinstance(found, dict):
                raise RegistryError(f"{self.url}: schema {number} is no record")
            self._schemas[number] = found
        return self._schemas[number]

    def _ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": TYPE, "Accept": f"{TYPE}, application/json"})
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            if error.code == 404:
                raise UnknownSchemaError(f"{self.url}{path}: not there") from None
            raise RegistryError(f"{self.url}{path}: status {error.code}") from None
        except (OSError, ValueError) as error:
            raise RegistryError(f"{self.url}: no answer ({type(error).__name__})") from None


class UnknownSchemaError(RegistryError):
    """An id nobody registered: an error of a record, not of a deploy."""
