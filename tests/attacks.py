"""Recipes that would do harm if what they name were called."""


def poison(target, *arguments, **named):
    return {"_target_": target, "_args_": list(arguments), **named}


ATTACKS = {  # each wrote, read or fetched something when recipes were built without a look at them
    "the whole": lambda r, p: r.update(poison("pathlib.Path.write_text", poison("pathlib.Path", p), "x")),
    "a part": lambda r, p: r["detector"]["backbone"].update(_target_="os.system", command=f"touch {p}"),
    "a new part": lambda r, p: r.update(extra=poison("os.system", f"touch {p}")),
    "deep in a list": lambda r, p: r["categories"].append([{"id": poison("os.mkdir", p), "name": "x"}]),
    "arguments of a part": lambda r, p: r["tracker"].update(_args_=[poison("os.mkdir", p)]),
    "a partial": lambda r, p: r["support"].update(_partial_=True),
    "torch.load": lambda r, p: r.update(support=poison("torch.load", p, weights_only=False)),
    "a download": lambda r, p: r.update(size=poison("urllib.request.urlretrieve", "file:///etc/hostname", p)),
    "pickles": lambda r, p: r.update(size=poison("numpy.load", p, allow_pickle=True)),
    "an interpolation": lambda r, p: r.update(tracker="${oc.create:{_target_: os.mkdir, path: " + p + "}}"),
    "the environment": lambda r, p: r["categories"][0].update(name="${oc.env:HOME}"),
    "no name": lambda r, p: r["tracker"].update(_target_=["os.mkdir"]),
}
