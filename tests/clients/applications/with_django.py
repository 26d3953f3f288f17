"""The application of the client tests, in Django: it has neither lifespan nor background tasks."""

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import JsonResponse, StreamingHttpResponse
from django.urls import path

settings.configure(
    DEBUG=False, SECRET_KEY="tests", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, USE_TZ=True
)
django.setup()


async def json(request):
    return JsonResponse({"started": True, "greeting": "hello", "q": request.GET.get("q")})


def form(request):  # in a thread
    return JsonResponse({"name": request.POST["name"], "size": request.FILES["file"].size})


def body(request):
    return JsonResponse({"size": len(request.read())})


async def stream(request):
    count = int(request.GET.get("lines", 100))

    async def lines():
        for number in range(count):
            yield f"line {number}\n"

    return StreamingHttpResponse(lines(), content_type="text/plain")


async def error(request):
    raise RuntimeError("wrong on purpose")


urlpatterns = [path(view.__name__, view) for view in (json, form, body, stream, error)]
app = get_asgi_application()
