"""How the schema came to be, one module a step. A step that was released is never changed."""
