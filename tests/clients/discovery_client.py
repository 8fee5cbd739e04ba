"""A client that google-api-python-client makes of the discovery document alone, over TCP.

usage: discovery_client.py ENDPOINT
"""

import json
import sys

import httplib2
from googleapiclient.discovery import build_from_document
from googleapiclient.errors import HttpError

endpoint = sys.argv[1]
http = httplib2.Http()


def say(*words):
    print("   ", *words, flush=True)


def client(prefix):
    response, body = http.request(endpoint + prefix + "/discovery")
    assert response.status == 200 and response["content-type"] == "application/json", response
    document = json.loads(body)
    # As the document says of itself: the root is the client's to fill in.
    document["rootUrl"] = document["rootUrl"].replace("$ENDPOINT", endpoint)
    return build_from_document(document, http=http)


def pages(collection, key, **filters):
    """Follows the pages as the library does."""
    found, request, count = [], collection.List(**filters), 0
    while request is not None:
        page = request.execute()
        count += 1
        found += page.get(key, [])
        assert count < 100
        request = collection.List_next(request, page)
    return found, count


api = client("/v1-alpha")
api = client("/fleet/v1")

say("machines, and their metadata")
machines, _ = pages(api.Machines(), "machines")
first = machines[0]["id"]
path = "/%s/metadata/from-python" % first
assert api.Machines().Patch(body=[{"op": "add", "path": path, "value": {"value": "yes"}}]).execute() is not None
seen = {machine["id"]: machine["metadata"] for machine in pages(api.Machines(), "machines")[0]}
assert seen[first]["from-python"] == "yes", seen
api.Machines().Patch(body=[{"op": "remove", "path": path}]).execute()
assert "from-python" not in pages(api.Machines(), "machines")[0][0]["metadata"]

say("units, one by one and in pages")
names = ["generated-%d.service" % n for n in range(5)]
options = [{"section": "Service", "name": "ExecStart", "value": "/bin/sleep <1d> & 2>/dev/null"}]
for name in names:
    api.Units().Set(unitName=name, body={"name": name, "desiredState": "inactive", "options": options}).execute()
assert api.Units().Get(unitName=names[0]).execute() == {
    "currentState": "inactive", "desiredState": "inactive", "name": names[0], "options": options}
units, count = pages(api.Units(), "units")
assert [unit["name"] for unit in units if unit["name"] in names] == names, units
assert count > 1, "the pages are small here"
assert api.UnitState().List(unitName="absent.service").execute() == {}

say("errors")
for request, code in [
    (api.Units().Get(unitName="absent.service"), 404),
    (api.UnitState().Get(unitName="absent.service"), 404),
    (api.Units().Set(unitName="other.service", body={"name": "another.service"}), 400),
    (api.Units().List(nextPageToken="nonsense!"), 400),
]:
    try:
        request.execute()
    except HttpError as error:
        assert error.resp.status == code, error
        assert json.loads(error.content)["error"]["code"] == code, error
    else:
        raise AssertionError("%s was not refused" % request.uri)

for name in names:
    api.Units().Delete(unitName=name).execute()
assert not [unit for unit in pages(api.Units(), "units")[0] if unit["name"] in names]
say("done")
