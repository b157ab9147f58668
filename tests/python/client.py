"""A client that knows NATS and nothing of rr: starts, follows, tells and stops runs, and looks at everything.

Called with the address of a mesh of two coordinators and the worker w1, which serves every host. What is not as the
pages say ends it with an AssertionError.
"""

import asyncio
import json
import sys
from contextlib import suppress

import nats
from nats.js.errors import KeyNotFoundError, NotFoundError

KINDS = {"rr.input", "rr.decision"}
LIMIT = 30


def flow(name, *argv):
    return {"name": name, "jobs": [{"name": "a", "run": list(argv), "hosts": "h[1-3]"}]}


class Client:
    def __init__(self, nc):
        self.nc = nc
        self.js = nc.jetstream()
        self.asked = {}
        self.heard = []
        self.news = asyncio.Event()

    async def hear(self, message):
        self.heard.append(message)
        self.news.set()

    async def until(self, what, condition):
        """Waits until what was heard says so."""

        async def wait():
            while not condition():
                self.news.clear()
                await self.news.wait()

        try:
            await asyncio.wait_for(wait(), LIMIT)
        except asyncio.TimeoutError:
            raise AssertionError(f"no {what}; heard {[m.subject for m in self.heard]}") from None

    async def ask(self, endpoint, request):
        """The answer and its code, 0 for one without an error."""
        self.asked[endpoint] = self.asked.get(endpoint, 0) + 1
        data = request if isinstance(request, bytes) else json.dumps(request).encode()
        answer = await self.nc.request(f"rr.api.{endpoint}", data, timeout=10)
        headers = answer.headers or {}
        assert headers["Content-Type"] == "application/json", headers
        body = json.loads(answer.data)
        code = int(headers.get("Nats-Service-Error-Code", 0))
        if code:
            assert body["code"] == code and body["error"] and headers["Nats-Service-Error"], (headers, body)
        return body, code

    def decisions(self, run):
        for message in self.heard:
            if message.subject.startswith("rr.ev.") and message.subject.endswith("." + run):
                yield json.loads(message.data)["body"]

    def is_over(self, run):
        return any("run_ended" in event["event"] for body in self.decisions(run) for event in body["events"])

    async def find(self, bucket, key, condition):
        kv = await self.js.key_value(bucket)
        for _ in range(LIMIT * 20):
            with suppress(KeyNotFoundError):
                entry = json.loads((await kv.get(key)).value)
                if condition(entry):
                    return entry
            await asyncio.sleep(0.05)
        raise AssertionError(f"no such {key} in {bucket}")


async def start_and_follow(client):
    answer = await client.ask("publish", {"flow": flow("f", "echo", "hello"), "id": "r1", "by": "ada"})
    assert answer == ({"run": "r1", "status": "queued"}, 0), answer
    await client.until("end of r1", lambda: client.is_over("r1"))
    subjects = [message.subject for message in client.heard]
    for start, end in [
        ("rr.api.publish", ""),
        ("rr.in.", ".r1.api"),
        ("rr.ev.", ".r1"),
        ("rr.work.h.h1.r1.0.1", ""),
        ("rr.in.", ".r1.w.w1"),
        ("rr.out.w1.r1.", ""),
    ]:
        assert any(s.startswith(start) and s.endswith(end) for s in subjects), (start, end, subjects)
    submit = next(m for m in client.heard if m.subject.endswith(".r1.api"))
    envelope = json.loads(submit.data)
    assert (envelope["from"], envelope["body"]["submit"]["by"]) == ("api:ada", "ada"), envelope


async def same_and_other(client):
    same = await client.ask("publish", {"flow": flow("f", "echo", "hello"), "id": "r1"})
    assert same[1] == 0 and same[0]["run"] == "r1", same
    _, code = await client.ask("publish", {"flow": flow("f", "echo", "bye"), "id": "r1"})
    assert code == 73
    drawn, code = await client.ask("publish", {"flow": flow("f", "true")})
    assert code == 0 and len(drawn["run"]) == 16, drawn
    await client.until("end of it", lambda: client.is_over(drawn["run"]))


async def told(client):
    entry = await client.find("rr-runs", "r1", lambda entry: entry["view"]["status"] == "succeeded")
    view, code = await client.ask("status", {"run": "r1"})
    assert code == 0 and view == entry["view"], (view, entry)
    assert entry["tasks"] == {"targets": 3, "ok": 3, "failed": 0, "unreachable": 0}, entry
    whole, _ = await client.ask("status", {"run": "r1", "tasks": True})
    tasks = whole["jobs"][0]["tasks"]
    assert [task["host"] for task in tasks] == ["h1", "h2", "h3"], tasks
    assert all(task["attempts"][0]["worker"] == "w1" for task in tasks), tasks
    listed, code = await client.ask("list", {"status": ["succeeded"]})
    assert code == 0 and "r1" in [run["run"] for run in listed["runs"]], listed
    one, _ = await client.ask("list", {"limit": 1})
    assert len(one["runs"]) == 1 and one["more"], one


async def stopped(client):
    await client.ask("publish", {"flow": flow("slow", "sleep", "60"), "id": "slow"})
    answer = await client.ask("cancel", {"run": "slow", "reason": "not now"})
    assert answer == ({"run": "slow", "cancel": True}, 0), answer
    await client.until("end of slow", lambda: client.is_over("slow"))
    await client.find("rr-runs", "slow", lambda entry: entry["view"]["status"] == "cancelled")
    assert await client.ask("cancel", {"run": "slow"}) == ({"run": "slow", "cancel": False}, 0)


async def refused(client):
    wrong = {"name": "f", "jobs": [{"name": "a b", "rnu": ["x"]}, {"name": "c", "run": ["x"], "success": "all"}]}
    body, code = await client.ask("publish", {"flow": wrong})
    places = sorted(problem["at"] for problem in body["problems"])
    assert code == 65 and places == ["/jobs/0/name", "/jobs/0/rnu", "/jobs/1/success"], body
    loose = {"name": "f", "jobs": [{"name": "a", "run": ["{{ v }}"], "needs": ["b"], "hosts": "h1", "success": 2}]}
    body, code = await client.ask("publish", {"flow": loose})
    assert code == 65 and len(body["problems"]) == 3, body
    large = {**flow("f", "x"), "description": "x" * 600_000}
    for endpoint, request, code in [
        ("publish", b"hello", 65),
        ("publish", {"text": "name: f"}, 65),
        ("publish", {"flow": "name: f"}, 65),
        ("publish", {"flow": large}, 65),
        ("publish", b"x" * 900_000, 65),
        ("publish", b'{"flow": ' + b"[" * 100_000, 65),
        ("publish", {"flow": flow("f", "x"), "id": "a b"}, 65),
        ("publish", {"flow": flow("f", "x"), "by": "a\nb"}, 65),
        ("publish", {"flow": flow("f", "x"), "params": {"v": "1"}}, 65),
        ("status", {"run": "nobody"}, 66),
        ("cancel", {"run": "nobody"}, 66),
        ("cancel", {"run": "r1", "reason": "x" * 20_000}, 65),
        ("signal", {"run": "nobody", "signal": "go"}, 66),
        ("signal", {"run": "r1"}, 65),
        ("list", {"limit": 0}, 65),
        ("list", {"status": ["lost"]}, 65),
        ("frobnicate", {}, 66),
    ]:
        body, found = await client.ask(endpoint, request)
        assert found == code, (endpoint, body)


async def discovered(client):
    """What `nats service ls`, `info` and `stats` ask, by hand."""

    async def gather(verb):
        inbox = client.nc.new_inbox()
        answers = await client.nc.subscribe(inbox)
        await client.nc.publish(f"$SRV.{verb}.rr", b"", reply=inbox)
        found = [json.loads((await answers.next_msg(timeout=5)).data) for _ in range(2)]
        await answers.unsubscribe()
        return found

    pings = await gather("PING")
    ids = {ping["id"] for ping in pings}
    assert len(ids) == 2 and all(ping["type"] == "io.nats.micro.v1.ping_response" for ping in pings), pings
    for info in await gather("INFO"):
        subjects = {endpoint["subject"] for endpoint in info["endpoints"]}
        assert subjects == {f"rr.api.{name}" for name in ("publish", "cancel", "signal", "status", "list")}, info
    answered = {}
    for stats in await gather("STATS"):
        assert stats["started"].endswith("Z"), stats
        for endpoint in stats["endpoints"]:
            answered[endpoint["name"]] = answered.get(endpoint["name"], 0) + endpoint["num_requests"]
            assert endpoint["num_errors"] <= endpoint["num_requests"], endpoint
    known = {name: n for name, n in client.asked.items() if name in answered}
    assert answered == known, (answered, known)
    own = json.loads((await client.nc.request(f"$SRV.INFO.rr.{pings[0]['id']}", b"", timeout=5)).data)
    assert own["id"] == pings[0]["id"], own
    kv = await client.js.key_value("rr-workers")
    keys = set(await kv.keys())
    assert keys == {"worker.w1"} | {f"coordinator.{instance}" for instance in ids}, (keys, ids)
    worker = json.loads((await kv.get("worker.w1")).value)
    assert worker["serves"]["hosts"] == "all" and worker["capacity"] == 8, worker


async def viewed(client):
    """What `nats stream view RR_EVENTS` and `nats consumer report RR_WORK` show."""
    state = (await client.js.stream_info("RR_EVENTS")).state
    kinds = set()
    for seq in range(state.first_seq, state.last_seq + 1):
        try:
            message = await client.js.get_msg("RR_EVENTS", seq)
        except NotFoundError:
            continue
        envelope = json.loads(message.data)
        assert envelope["kind"] in KINDS and envelope["v"] == 1, (message.subject, envelope)
        assert message.subject.split(".")[3] == envelope["to"], (message.subject, envelope)
        kinds.add(envelope["kind"])
    assert kinds == KINDS, kinds
    consumers = {consumer.name: consumer for consumer in await client.js.consumers_info("RR_WORK")}
    assert {"w-w1", "q1-default", "q2-default", "q3-default"} <= set(consumers), consumers


async def unavailable(client):
    """Without the log nothing can be stored, and the answer says so."""
    assert await client.js.delete_stream("RR_EVENTS")
    body, code = await client.ask("publish", {"flow": flow("f", "x"), "id": "r9"})
    assert code == 69 and "r9" in body["error"], body


async def main(server):
    nc = await nats.connect(server)
    client = Client(nc)
    await nc.subscribe("rr.>", cb=client.hear)
    await nc.flush()
    for part in [start_and_follow, same_and_other, told, stopped, refused, discovered, viewed, unavailable]:
        print(part.__name__, flush=True)
        await part(client)
    await nc.close()


asyncio.run(main(sys.argv[1]))
