"""A client that sends what it is told: header fields in their order and spelling, a repeated one twice."""

import http.client
import json


class Response:
    def __init__(self, status, fields, body):
        self.status, self.fields, self.body = status, fields, body

    def all(self, name):
        """Every field of that name, in order."""
        return [value for field, value in self.fields if field.lower() == name]

    def header(self, name):
        return ", ".join(self.all(name)) if self.all(name) else None

    def json(self):
        return json.loads(self.body)

    def error(self):
        """The error code of the challenge (RFC 6750 §3), or None."""
        challenge = self.header("www-authenticate") or ""
        return challenge.split('error="')[1].split('"')[0] if 'error="' in challenge else None


class Client:
    """One connection a request: nothing of one can help or hinder another."""

    def __init__(self, port):
        self.port = port

    def open(self, method, path, fields=(), body=None):
        """Sends a request, and returns the connection and the response whose body is yet to be read."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in fields:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("content-length", str(len(body)))
        connection.endheaders(body)
        return connection, connection.getresponse()

    def send(self, method, path, fields=(), body=None):
        connection, response = self.open(method, path, fields, body)
        try:
            return Response(response.status, response.getheaders(), response.read())
        finally:
            connection.close()

    def get(self, path, token=None, fields=()):
        bearer = [("authorization", f"Bearer {token}")] if token is not None else []
        return self.send("GET", path, [*bearer, *fields])
