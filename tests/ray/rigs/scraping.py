"""Metrics of the replicas, from Ray's own endpoints."""

from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families


def by_replica(cluster, name, **labels):
    """Return the sums of such samples by replica, from all nodes that answer."""
    sums = {}
    for node in cluster.nodes:
        try:
            with urlopen(f"http://127.0.0.1:{node.metrics}/metrics", timeout=30) as answer:
                text = answer.read().decode()
        except OSError:
            continue
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    replica = sample.labels["replica"]
                    sums[replica] = sums.get(replica, 0) + sample.value
    return sums
