import re

import httpx


def test_the_documentation_page_needs_nothing_from_elsewhere(admin: httpx.Client) -> None:
    page = admin.get("/docs")
    assert page.status_code == 200
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(links) >= 3
    for link in links:
        assert link.startswith("/docs/assets/"), link
        assert admin.get(link).status_code == 200, link
    assert "/openapi.json" in page.text
    assert admin.get("/docs/assets/nothing.js").status_code == 404
    assert admin.get("/docs/assets/..%2f..%2f__init__.py").status_code in (404, 422)
