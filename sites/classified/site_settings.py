"""Django's settings for the classifieds site. The marketplace itself is the package django-classified, unchanged."""

import pathlib

HERE = pathlib.Path(__file__).resolve().parent


def settings_for(data: pathlib.Path, language: str) -> dict:
    """The settings of a site whose database and uploads lie in `data`."""
    return {
        "SECRET_KEY": "practice site on loopback, nothing here is secret",
        "DEBUG": False,
        "ALLOWED_HOSTS": ["127.0.0.1", "localhost", "[::1]"],
        "ROOT_URLCONF": "site_urls",
        "INSTALLED_APPS": [
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.humanize",
            "django.contrib.messages",
            "django.contrib.sessions",
            "django.contrib.sitemaps",
            "django.contrib.sites",
            "django.contrib.staticfiles",
            "sorl.thumbnail",
            "django_classified",
        ],
        "MIDDLEWARE": [
            "faults.FaultMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.locale.LocaleMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        "TEMPLATES": [
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "DIRS": [str(HERE / "templates")],
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                        "django_classified.context_processors.common_values",
                    ]
                },
            }
        ],
        "DATABASES": {
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(data / "site.sqlite3"),
                # Many threads write at once: wait for the lock from the start of a transaction.
                "OPTIONS": {
                    "timeout": 30,
                    "transaction_mode": "IMMEDIATE",
                    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
                },
            }
        },
        "DEFAULT_AUTO_FIELD": "django.db.models.AutoField",
        "SITE_ID": 1,
        "USE_TZ": True,
        "USE_I18N": True,
        "LANGUAGE_CODE": language,
        "STATIC_URL": "/static/",
        "MEDIA_URL": "/media/",
        "MEDIA_ROOT": str(data / "media"),
        "LOGIN_URL": "/login/",
        "LOGIN_REDIRECT_URL": "/user/",
        # The passwords are public, so a slow hash would only make each start slow.
        "PASSWORD_HASHERS": ["django.contrib.auth.hashers.MD5PasswordHasher"],
        "SILENCED_SYSTEM_CHECKS": ["admin.E403"],
        "DCF_ITEM_PER_USER_LIMIT": 100_000,
        "LOGGING": {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"stderr": {"class": "logging.StreamHandler"}},
            "loggers": {"django": {"handlers": ["stderr"], "level": "ERROR", "propagate": False}},
        },
    }
