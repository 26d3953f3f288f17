"""The application's side: requests as ASGI scopes, messages both ways, lifespan."""
