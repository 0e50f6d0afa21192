// Why the canary could not be called, and what to do about it. In: a call that was not accepted. Out: one
// message for people that names the fix. Never the token of the call.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../../version.ts'
import { drillProfile } from './canary_lease.ts'
import type { CanaryCall, GateAddress } from './connection.ts'

/** Nothing within a second or two: the header has whole seconds. */
const clockSlackSeconds = 3

/** The message for a call at `gate` that should have been accepted. */
export function explain(call: CanaryCall, { url, authority }: GateAddress): string {
  const gate = url.origin
  if (call.outcome === 'accepted') return `${gate} answered`
  if (call.outcome === 'failed') return explainFailure(call.cause, gate)
  const { status, code, detail, reasons, clockAheadSeconds = 0 } = call
  if (/^lease_(?:invalid|expired)$/.test(code)) return explainLease(gate, clockAheadSeconds)
  switch (code) {
    case 'unknown_authority':
      return `${gate} does not answer for ${authority}: public_origin is not that of the gate`
    case 'operation_unmapped':
      return `${gate} has no canary: it runs an older version of Leasegate`
    case 'evidence_unavailable':
      return `${gate} cannot tell what is revoked (503): see /readyz on its metrics listener`
    case 'policy_denied':
      return `policy at ${gate} refuses the canary (${reasons.join(', ')}): ${missingPolicy()}`
    default:
      return `${gate} answers ${status} ${code}${detail === '' ? '' : `: ${detail}`}`
  }
}

function explainFailure(cause: string, gate: string): string {
  return /CERT|SIGNATURE|ERR_TLS/.test(cause)
    ? `the certificate of ${gate} is not trusted (${cause}): set NODE_EXTRA_CA_CERTS to the PEM file of its authority`
    : `${gate} cannot be reached (${cause}): is it running, and is this its address? Name gates with --gate`
}

function explainLease(gate: string, ahead: number): string {
  if (Math.abs(ahead) > clockSlackSeconds) {
    const which = ahead > 0 ? 'behind' : 'ahead of'
    return `the clock of this machine is ${Math.abs(ahead)} s ${which} that of ${gate}: set it, and its time service`
  }
  return `${gate} does not take leases that are signed here: issuers, broker.key_file and public_origin have to be those of its deployment`
}

/** The lines that a policy of one's own lacks, as the shipped policies have them. */
function missingPolicy(): string {
  const shipped = (path: string) => readFileSync(join(packageRoot, 'policies', path), 'utf8')
  const profiles = JSON.parse(shipped('data/profiles.json')) as Record<string, unknown>
  const rule = /^drills if \{\n[\s\S]*?^\}$/m.exec(shipped('authz.rego'))?.[0] ?? ''
  return [
    'add to data/profiles.json',
    `  ${JSON.stringify(drillProfile)}: ${JSON.stringify(profiles[drillProfile])}`,
    'and to authz.rego',
    ...['user_entitled if drills', '', ...rule.split('\n')].map((line) => `  ${line}`),
  ].join('\n')
}
