"""certificates: a certificate authority of the test's own, made by the openssl program, and what it signs."""
import penstock_test as pt


class Authority:
    """In `dir`: ca.pem; sign() adds NAME.pem and NAME.key."""

    def __init__(self, dir, name="test authority"):
        pt.need_program("openssl", "openssl")
        self.dir, self.cert, self.key = dir, dir / "ca.pem", dir / "ca.key"
        pt.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.cert])

    def sign(self, name, san="IP:127.0.0.1,DNS:localhost"):
        """Returns the paths of the certificate and its key."""
        cert, key, request, extension = (self.dir / f"{name}.{end}" for end in ("pem", "key", "csr", "ext"))
        extension.write_text(f"subjectAltName={san}\n")
        pt.run(["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                "-keyout", key, "-out", request])
        pt.run(["openssl", "x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial", "-days", "2",
                "-extfile", extension, "-out", cert])
        return cert, key
