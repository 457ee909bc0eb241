"""What testssl.sh and sslyze have found, less what deploy/security-allowed.txt gives a reason for.

Usage: security-report.py FOLDER ALLOWED. Prints a summary; fails when anything above "info" is left, or when a scan holds too
little to be one.
"""

import json
import pathlib
import sys

QUIET = {"OK", "INFO", "DEBUG"}
SUITES = {
    "ssl_2_0_cipher_suites": "SSL 2.0",
    "ssl_3_0_cipher_suites": "SSL 3.0",
    "tls_1_0_cipher_suites": "TLS 1.0",
    "tls_1_1_cipher_suites": "TLS 1.1",
    "tls_1_2_cipher_suites": "TLS 1.2",
    "tls_1_3_cipher_suites": "TLS 1.3",
}
WANTED = {"api": {"TLS 1.2", "TLS 1.3"}, "agents": {"TLS 1.3"}}


def allowed(path):
    """(scanner, side or *, id) -> reason."""
    reasons = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            scanner, side, name, reason = (part.strip() for part in line.split("|", 3))
            if not reason:
                sys.exit(f"{path}: {name} has no reason")
            reasons[scanner, side, name] = reason
    return reasons


def testssl(folder, side):
    entries = json.loads((folder / f"testssl-{side}.json").read_text(encoding="utf-8"))
    if len(entries) < 40:
        yield "scan", "FATAL", f"only {len(entries)} results; see testssl-{side}.log"
    for entry in entries:
        if entry["severity"] not in QUIET:
            yield entry["id"], entry["severity"], entry["finding"]


def sslyze(folder, side):
    servers = json.loads((folder / f"sslyze-{side}.json").read_text(encoding="utf-8"))["server_scan_results"]
    if len(servers) != 1 or servers[0]["scan_status"] != "COMPLETED":
        yield "scan", "FATAL", f"not completed: {[server.get('connectivity_error_trace') for server in servers]}"
        return
    results = servers[0]["scan_result"]
    done = 0
    spoken = set()
    for name, outcome in results.items():
        if outcome["status"] == "NOT_SCHEDULED":
            continue
        if outcome["status"] != "COMPLETED":
            yield name, "WARN", f"{outcome['status']}: {outcome.get('error_reason')}"
            continue
        done += 1
        result = outcome["result"]
        if name in SUITES:
            suites = [suite["cipher_suite"] for suite in result["accepted_cipher_suites"]]
            if suites:
                spoken.add(SUITES[name])
            for suite in suites:
                weak = ("CBC", "RC4", "3DES", "NULL", "EXPORT", "anon", "MD5")
                if any(word in suite["name"] for word in weak) or suite["key_size"] < 128:
                    yield name, "HIGH", f"weak suite {suite['name']}"
        elif name == "heartbleed" and result["is_vulnerable_to_heartbleed"]:
            yield name, "CRITICAL", "vulnerable"
        elif name == "openssl_ccs_injection" and result["is_vulnerable_to_ccs_injection"]:
            yield name, "CRITICAL", "vulnerable"
        elif name == "robot" and "VULNERABLE" in result["robot_result"].replace("NOT_VULNERABLE", ""):
            yield name, "CRITICAL", result["robot_result"]
        elif name == "tls_compression" and result["supports_compression"]:
            yield name, "HIGH", "compression"
        elif name == "tls_1_3_early_data" and result["supports_early_data"]:
            yield name, "MEDIUM", "early data"
        elif name == "session_renegotiation" and (
            result["is_vulnerable_to_client_renegotiation_dos"]
            # TLS 1.3 has no renegotiation at all.
            or (side == "api" and not result["supports_secure_renegotiation"])
        ):
            yield name, "MEDIUM", json.dumps(result)
        elif name == "certificate_info":
            for deployment in result["certificate_deployments"]:
                if not deployment["received_chain_has_valid_order"]:
                    yield "certificate_order", "MEDIUM", "the chain is not in order"
                if not any(path["was_validation_successful"] for path in deployment["path_validation_results"]):
                    yield "certificate_trust", "HIGH", "no public trust store knows the root"
                if deployment["verified_chain_has_sha1_signature"]:
                    yield "certificate_sha1", "HIGH", "SHA-1"
    if done < 8:
        yield "scan", "FATAL", f"only {done} checks were completed; see sslyze-{side}.log"
    if spoken != WANTED[side]:
        yield "versions", "HIGH", f"speaks {sorted(spoken)}, not {sorted(WANTED[side])}"


def main():
    folder, reasons = pathlib.Path(sys.argv[1]), allowed(pathlib.Path(sys.argv[2]))
    left, used = [], set()
    for scanner, look in (("testssl", testssl), ("sslyze", sslyze)):
        for side in ("api", "agents"):
            found = list(look(folder, side))
            excused = 0
            for name, severity, finding in found:
                key = next((key for key in ((scanner, side, name), (scanner, "*", name)) if key in reasons), None)
                if key:
                    used.add(key)
                    excused += 1
                else:
                    left.append(f"{scanner} {side}: {severity} {name}: {finding}")
            print(f"{scanner:8} {side:7} {len(found)} above info, {excused} of them with a reason")
    for key in sorted(used):
        print("allowed: {} {} {}: {}".format(*key, reasons[key]))
    for key in sorted(set(reasons) - used):
        print("not seen this time: {} {} {}".format(*key))
    if left:
        print("\n".join(["", *left]))
        sys.exit(f"security: {len(left)} finding(s) above info")
    print("security: nothing above info")


main()
