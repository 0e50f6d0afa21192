// THE table of what can be wrong with a lease token. Out: a refusal with a precise cause for the audit
// record and one sentence for the caller. Fixed texts only: nothing that a token says ever goes in.
import { type Refusal, type RefusalCode, refuse } from '../refusals.ts'

const details = {
  // the text
  token_too_large: 'The token is larger than 8 KiB.',
  not_compact_jws: 'The token is not a signed JWT of three parts.',
  base64url_not_canonical: 'A part of the token is not canonical base64url.',
  signature_missing: 'The token has no signature.',
  json_not_strict: 'A part of the token is not strict JSON: it could be read in more than one way.',
  // the header
  typ_not_allowed: 'The token is of another kind: typ has to be at+jwt.',
  alg_not_allowed: 'The signature algorithm is not accepted from this issuer.',
  kid_not_plain: 'The token names no key, or not in plain characters.',
  header_member_not_allowed: 'The token header carries a member that is not accepted.',
  // the signature
  issuer_unknown: 'The issuer is not one that this gate accepts.',
  key_unknown: 'The issuer has no such key for this algorithm.',
  signature_invalid: 'The signature does not fit the token.',
  // claims
  claim_malformed: 'A required claim is missing or not plain text: iss, aud, sub, client_id, jti.',
  time_malformed: 'A time claim is missing or not a finite number: iat, exp, nbf.',
  lifetime_too_long: 'The token lives longer than this gate accepts.',
  beyond_lease: 'The token outlives its lease.',
  audience_not_allowed: 'The token is meant for another audience.',
  binding_not_supported: 'The token is bound in a way that is not known here: cnf holds jkt or x5t#S256.',
  binding_not_proven: 'The token is bound to a key and came without the proof of possession.',
  binding_absent: 'The token is not bound to a DPoP key: send it as `Authorization: Bearer …`.',
  act_missing: 'The token names a person but no agent that acts for them.',
  act_malformed: 'The delegation in the token is incomplete.',
  act_too_deep: 'The delegation chain in the token is too long.',
  lease_claim_missing: 'The token carries no lease.',
  lease_claim_malformed: 'The lease in the token is incomplete or not plain text.',
  details_missing: 'The token grants nothing: authorization_details is empty.',
  details_malformed: 'An entry of authorization_details has an unknown or malformed member.',
  details_type_unknown: 'An entry of authorization_details is of an unknown type.',
  details_any_action: 'An entry of authorization_details grants every action.',
  details_location: 'An entry of authorization_details is for another location.',
  // per use
  audience_not_here: 'The token is meant for another backend.',
  issued_in_the_future: 'The token has been issued in the future.',
  not_yet_valid: 'The token is not valid yet.',
  expired: 'The token has expired.',
  // status
  status_malformed: 'The status of the token is not stated in a known way.',
  status_list_not_allowed: 'The status list of the token is not one that this gate reads.',
  status_list_invalid: 'The status list of the token fails a check.',
  status_not_valid: 'The issuer has withdrawn the token.',
  // what the gate lacks
  keys_unavailable: 'The keys of the issuer cannot be read now.',
  status_list_unavailable: 'The status list of the token cannot be read now.',
} as const

/** One word for what was wrong; the `cause` in the audit record. */
export type Fault = keyof typeof details

/** Faults that are not `lease_invalid`. */
const codes: Partial<Record<Fault, RefusalCode>> = {
  expired: 'lease_expired',
  status_not_valid: 'lease_revoked',
  keys_unavailable: 'evidence_unavailable',
  status_list_unavailable: 'evidence_unavailable',
}

/** The refusal for a fault. */
export function fault(cause: Fault): Refusal {
  return refuse(codes[cause] ?? 'lease_invalid', { cause, detail: details[cause] })
}
