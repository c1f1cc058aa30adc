import pytest

from app.doctor import hide_password


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://user:word@host:5432/d", "postgresql://user:***@host:5432/d"),
        ("postgresql://user:w@rd@host/d", "postgresql://user:***@host/d"),
        ("postgresql://host/d?user=u&password=word&ssl=on", "postgresql://host/d?user=u&password=***&ssl=on"),
        ("postgresql://host/d?Password=w@rd", "***"),
        ("rediss://host?password=word", "rediss://host?password=***"),
        ("redis://:word@host:6379/0", "redis://:***@host:6379/0"),
        ("redis://:wo/rd@host:6379/0", "***"),
        ("redis://:12/34@host", "***"),
        ("redis://:12?key=34@host", "***"),
        ("redis://:wo#rd@host", "***"),
        ("simplecache::s3://id:word@bucket/models", "***"),
        ("host=h password=word", "***"),
        ("/var/lib/models", "/var/lib/models"),
        ("s3://bucket/models", "s3://bucket/models"),
    ],
)
def test_no_password_is_shown(url: str, shown: str) -> None:
    assert hide_password(url) == shown
