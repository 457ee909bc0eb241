"""The site's addresses: django-classified at the root, the login page it leaves to the host, and the truth."""

import hashlib
import pathlib

from django.conf import settings
from django.contrib.auth import views as auth_views
from django.http import JsonResponse
from django.urls import include, path, re_path
from django.views.decorators.csrf import csrf_exempt
from django.views.static import serve
from django_classified.models import Item

import faults


def photo(image) -> dict:
    """What the site stored for one photo; sizes in pixels."""
    content = pathlib.Path(image.file.path).read_bytes()
    return {
        "file": image.file.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "width": image.file.width,
        "height": image.file.height,
    }


def items(_request):
    """Every item in the site's own database, oldest first, to compare with what a seller meant to post."""
    rows = Item.objects.select_related("user", "group__section", "area").prefetch_related("image_set").order_by("pk")
    listed = []
    for item in rows:
        photos = [photo(image) for image in sorted(item.image_set.all(), key=lambda image: image.pk)]
        listed.append(
            {
                "id": item.pk,
                "url": item.get_absolute_url() if item.slug else None,
                "seller": item.user.username,
                "title": item.title,
                "description": item.description,
                "price": str(item.price),
                "section": item.group.section.title,
                "group": item.group.title,
                "area": item.area.title if item.area else None,
                "active": item.is_active,
                "posted": item.posted.isoformat(),
                "updated": item.updated.isoformat(),
                "photos": len(photos),
                "photo_files": photos,
            }
        )
    return JsonResponse({"items": listed})


urlpatterns = [
    path("__items__", items),
    path("__faults__", csrf_exempt(faults.control)),
    path("login/", auth_views.LoginView.as_view(template_name="login.html")),
    re_path(r"^media/(?P<path>.*)$", serve, {"document_root": settings.MEDIA_ROOT}),
    path("", include("django_classified.urls", namespace="django_classified")),
]
