import { execFileSync } from "node:child_process";
import { isIP } from "node:net";

/**
 * In the folder: `ca.pem`, and `server.pem` and `client.pem` that it signed, for 127.0.0.1 and `names`, hosts and addresses; keys in `NAME-key.pem`.
 */
export function makeCertificates(directory: string, names: readonly string[] = []): void {
  const subjects = ["IP:127.0.0.1", ...names.map((name) => `${isIP(name) === 0 ? "DNS" : "IP"}:${name}`)].join(",");
  const openssl = (...parameters: string[]) => execFileSync("openssl", parameters, { cwd: directory, stdio: "ignore" });
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
  openssl("req", "-x509", ...curve, "-subj", "/CN=test authority", "-keyout", "ca-key.pem", "-out", "ca.pem");
  for (const name of ["server", "client"]) {
    const signed = ["-CA", "ca.pem", "-CAkey", "ca-key.pem", "-addext", `subjectAltName=${subjects}`];
    openssl(
      "req",
      "-x509",
      ...curve,
      "-subj",
      `/CN=${name}`,
      ...signed,
      "-keyout",
      `${name}-key.pem`,
      "-out",
      `${name}.pem`,
    );
  }
}
