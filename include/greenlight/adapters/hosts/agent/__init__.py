"""What is done on a serving host, by the host's own Python, 3.9 or newer, and nothing else.

The sources travel with every call (see `agent_call`), so that no host can have an old agent. An
agent answers one command and ends; what it knows is below the root folder of its request:

* `models/DIGEST/`, `models/DIGEST.json`: a verified model; the manifest beside it is written last
* `incoming/DIGEST/`: a copy under way, which the next attempt continues
* `slots/COLOUR/`: `record.json`, what was started there; `engine.log`; `lock`

Only the standard library, and no syntax newer than 3.9.
"""
