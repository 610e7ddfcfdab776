"""JSON replies with the content type that the contract names."""

from starlette.responses import JSONResponse


class JsonReply(JSONResponse):
    """A JSON body that says its charset."""

    media_type = "application/json; charset=utf-8"
