"""What one object says of another is so, and every pod is as confined as it should be."""

import ipaddress

import pytest
import yaml

from tests.manifests.rendered import FOREIGN, OVERLAYS, find, pods, render

SECRET = "mynet"  # created by the operator, and described in deploy/k8s/README.md
# Where the service account's keys are given out: GKE with and without Dataplane V2, and EKS.
IDENTITIES = {
    ("169.254.169.254/32", 80),
    ("169.254.169.252/32", 987),
    ("169.254.169.252/32", 988),
    ("169.254.170.23/32", 80),
}


def containers(overlay):
    return [(pod, container) for pod in pods(overlay) for container in pod["spec"]["containers"]]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_there_is_something_to_run(overlay):
    assert containers(overlay)
    kinds = {manifest["kind"] for manifest in render(overlay)}
    assert kinds & {"Deployment", *FOREIGN}
    assert {"Namespace", "ServiceAccount", "NetworkPolicy", "PodDisruptionBudget"} <= kinds


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_all_is_in_one_namespace_which_lets_nobody_be_root(overlay):
    (namespace,) = find(overlay, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for manifest in render(overlay):
        if manifest is not namespace:
            assert manifest["metadata"]["namespace"] == namespace["metadata"]["name"], manifest


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_are_confined(overlay):
    """As the standard `restricted` wants it, and with a root that cannot be written."""
    for pod, container in containers(overlay):
        pod_context, container_context = (
            pod["spec"]["securityContext"],
            container["securityContext"],
        )
        assert pod_context["runAsNonRoot"] is True and pod_context["runAsUser"] > 0
        assert pod_context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container_context["allowPrivilegeEscalation"] is False
        assert container_context["readOnlyRootFilesystem"] is True
        assert container_context["capabilities"] == {"drop": ["ALL"]}
        assert not any(pod["spec"].get(name) for name in ("hostNetwork", "hostPID", "hostIPC"))
        assert pod["spec"].get("initContainers", []) == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_pod_has_a_token_but_the_one_whose_autoscaler_asks_the_cluster(overlay):
    for pod in pods(overlay):
        if pod["metadata"]["labels"]["app.kubernetes.io/component"] != "head":
            assert pod["spec"]["automountServiceAccountToken"] is False
            assert pod["spec"]["serviceAccountName"] == "mynet"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_variable_comes_from_the_cluster(overlay):
    """A Service called mynet would set MYNET_PORT=tcp://…, which no start would survive."""
    assert all(pod["spec"]["enableServiceLinks"] is False for pod in pods(overlay))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_is_mounted_and_read_is_there(overlay):
    maps = {manifest["metadata"]["name"] for manifest in find(overlay, "ConfigMap")}
    claims = {manifest["metadata"]["name"] for manifest in find(overlay, "PersistentVolumeClaim")}
    used = set()
    for pod, container in containers(overlay):
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} <= set(volumes)
        assert {"/app/var", "/tmp"} <= {mount["mountPath"] for mount in container["volumeMounts"]}
        kinds = [set(volume) - {"name"} for volume in volumes.values()]
        assert all(len(kind) == 1 for kind in kinds), "a volume is of one kind"
        used |= {
            volume["persistentVolumeClaim"]["claimName"]
            for volume in volumes.values()
            if "persistentVolumeClaim" in volume
        }
        assert {source["configMapRef"]["name"] for source in container["envFrom"]} == maps
        for variable in container["env"]:
            if "valueFrom" in variable:
                assert variable["valueFrom"]["secretKeyRef"]["name"] == SECRET
    assert used == claims, "a claim that nothing mounts, or one that is not there"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_selects_pods_finds_some(overlay):
    labels = [pod["metadata"]["labels"].items() for pod in pods(overlay)]
    selected = [manifest["spec"]["selector"]["matchLabels"] for manifest in selecting(overlay)]
    selected += [manifest["spec"]["selector"] for manifest in find(overlay, "Service")]
    selected += [policy["spec"]["podSelector"]["matchLabels"] for policy in policies(overlay)]
    assert selected
    for selector in selected:
        assert any(selector.items() <= pod_labels for pod_labels in labels), selector
    for selector in (policy["spec"]["podSelector"]["matchLabels"] for policy in policies(overlay)):
        assert all(selector.items() <= pod_labels for pod_labels in labels), (
            "a pod without a network policy"
        )


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_drain_always_ends(overlay):
    """A budget lets one pod go even where there are as few as there may be."""
    (budget,) = find(overlay, "PodDisruptionBudget")
    min_available = budget["spec"].get("minAvailable", 0)
    assert min_available < fewest(overlay) and budget["spec"].get("maxUnavailable", 1) >= 1


def fewest(overlay):
    """Count the pods that serve, where autoscalers have taken all that they may."""
    scaled = [manifest["spec"] for manifest in find(overlay, "HorizontalPodAutoscaler")]
    scaled += [manifest["spec"]["predictor"] for manifest in find(overlay, "InferenceService")]
    for manifest in find(overlay, "RayService"):
        scaled += manifest["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    fixed = sum(manifest["spec"].get("replicas", 0) for manifest in find(overlay, "Deployment"))
    return fixed + sum(spec["minReplicas"] for spec in scaled)


def test_jobs_on_ray_train_at_once_beside_the_replicas():
    """Also where there are as few workers as there may be: none waits for another, nor for Ray."""
    (service,) = find("ray", "RayService")
    (settings,) = find("ray", "ConfigMap")
    (group,) = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    (application,) = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"]
    (deployment,) = application["deployments"]
    jobs, threads = (int(settings["data"][f"MYNET_TRAIN_{name}"]) for name in ("JOBS", "THREADS"))
    cores = group["minReplicas"] * int(group["rayStartParams"]["num-cpus"])
    replicas = deployment["autoscaling_config"]["min_replicas"]
    assert 1 < jobs * threads <= cores - replicas


def selecting(overlay):
    return [*find(overlay, "Deployment"), *find(overlay, "PodDisruptionBudget")]


def policies(overlay):
    return find(overlay, "NetworkPolicy")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_ports_that_are_named_are_there(overlay):
    for _, container in containers(overlay):
        ports = {container_port["name"] for container_port in container["ports"]}
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            port = container[name]["httpGet"]["port"]
            assert isinstance(port, int) or port in ports
        for service in find(overlay, "Service"):
            assert {
                service_port["targetPort"] for service_port in service["spec"]["ports"]
            } <= ports


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_images_have_a_tag_and_memory_a_limit(overlay):
    for _, container in containers(overlay):
        assert container["image"].partition(":")[2] not in ("", "latest")
        assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]


def test_one_replica_is_recreated_and_several_are_rolled():
    """Two pods never hold one volume; of several none is missed."""
    for overlay in ("cpu", "gpu"):
        (one,) = find(overlay, "Deployment")
        (volume,) = find(overlay, "PersistentVolumeClaim")
        assert volume["spec"]["accessModes"] == ["ReadWriteOnce"]
        assert (one["spec"]["replicas"], one["spec"]["strategy"]) == (1, {"type": "Recreate"})
    several, trainer = find("scaled", "Deployment")
    assert (trainer["spec"]["replicas"], trainer["spec"]["strategy"]) == (1, {"type": "Recreate"})
    assert several["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert "replicas" not in several["spec"], "the autoscaler's"
    (scaler,) = find("scaled", "HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] == several["metadata"]["name"]
    assert scaler["spec"]["minReplicas"] > 1


def test_scaled_replicas_have_no_torch_and_one_pod_that_gets_no_requests_trains():
    several, trainer = find("scaled", "Deployment")
    images = [
        deployment["spec"]["template"]["spec"]["containers"][0]["image"]
        for deployment in (several, trainer)
    ]
    assert images == ["mynet:0.1.0-predict", "mynet:0.1.0-extras"]
    (service,) = find("scaled", "Service")
    labels = trainer["spec"]["template"]["metadata"]["labels"].items()
    assert not service["spec"]["selector"].items() <= labels


@pytest.mark.parametrize("overlay", ["scaled", "kserve", "ray"])
def test_several_replicas_share_a_database_a_store_of_versions_and_a_volume(overlay):
    (volume,) = find(overlay, "PersistentVolumeClaim")
    assert volume["spec"]["accessModes"] == ["ReadWriteMany"]
    (settings,) = find(overlay, "ConfigMap")
    assert settings["data"]["MYNET_MODELS_URL"].startswith("s3://")
    for _, container in containers(overlay):
        (database,) = [
            variable for variable in container["env"] if variable["name"] == "MYNET_DATABASE_URL"
        ]
        assert not database["valueFrom"]["secretKeyRef"].get("optional"), "else each has its own"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_keys_of_an_object_store_are_asked_for_where_there_may_be_one(overlay):
    """By the service account's identity on GKE and EKS; else nothing of the node's is reached."""
    blocks = [
        (ipaddress.ip_network(peer["ipBlock"]["cidr"]), peer["ipBlock"].get("except", []), port)
        for policy in policies(overlay)
        for rule in policy["spec"].get("egress", [])
        for peer in rule.get("to", [])
        for port in (rule_port["port"] for rule_port in rule.get("ports", []))
        if "ipBlock" in peer
    ]
    local = ipaddress.ip_network("169.254.0.0/16")
    near = {(str(block), port) for block, _, port in blocks if block.subnet_of(local)}
    wide = [excepted for block, excepted, _ in blocks if not block.subnet_of(local)]
    assert all(excepted == [str(local)] for excepted in wide)
    (settings,) = find(overlay, "ConfigMap")
    assert near == (IDENTITIES if "MYNET_MODELS_URL" in settings["data"] else set())


def test_a_gpu_is_asked_for_by_whoever_uses_one():
    for overlay in OVERLAYS:
        (settings,) = find(overlay, "ConfigMap")
        for pod, container in containers(overlay):
            limits = container["resources"]["limits"]
            needs_gpu = settings["data"]["MYNET_DEVICE"] == "cuda"
            assert ("nvidia.com/gpu" in limits) is needs_gpu
            assert bool(pod["spec"].get("tolerations")) is needs_gpu
