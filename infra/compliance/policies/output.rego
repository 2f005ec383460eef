# What is read back. regopy 1.5.2 does not escape quotes of strings in its answers, so each string is encoded.
package cerebeam

import rego.v1

encoded(f) := [base64.encode(f.check), base64.encode(f.where), base64.encode(f.line)]

encoded_deny contains encoded(f) if some f in deny

encoded_proof contains encoded(f) if some f in proof
