// Evidence in, the JSON text of the versioned policy input out (policies/input.schema.json). What a lease
// and an operation contribute never changes, so their text is made once and kept beside them.

import type { Operation } from '../enforce/operation.ts'
import type { Evidence } from '../enforce/stages.ts'
import { amountText, wholeUnits } from '../lease/amount.ts'
import type { Lease } from '../lease/lease.ts'

const leaseTexts = new WeakMap<Lease, string>()
const operationTexts = new WeakMap<Operation, string>()

/** The document that `data.leasegate.authz.decision` is evaluated with, as JSON text (design §7). */
export function policyInput(evidence: Evidence): string {
  const { request, mapped, lease, backend, now } = evidence
  const { operation } = mapped
  return `{"version":1,"lease":{${leaseText(lease)},"age_seconds":${now - lease.issuedAt},"expires_in_seconds":${
    lease.expiresAt - now
  }},"request":{"backend":${JSON.stringify(backend.name)},${operationText(operation)},"resource":${JSON.stringify(
    mapped.resource,
  )},"method":"${request.method}","path":${JSON.stringify(mapped.backendPath)},${movedText(evidence)},"params":${
    operation.resource.includes('{') || operation.match.includes('{') ? JSON.stringify(mapped.params) : '{}'
  },"query":${request.queryText === undefined ? '{}' : JSON.stringify(mapped.query)},"body":${
    evidence.body === null ? 'null' : JSON.stringify(evidence.body)
  }},"context":{"now":${now},"source_ip":${JSON.stringify(request.peer)},"recent_calls":{"lease_1m":${
    evidence.recentCalls.lease
  },"agent_1m":${evidence.recentCalls.agent}},"provenance":"${request.provenance}","approval":${approvalText(evidence)},"budget":${budgetText(evidence)}}}`
}

function movedText({ amount }: Evidence): string {
  if (amount === undefined || 'problem' in amount) return '"amount":null,"amount_whole":null'
  // Up, and what is left down: a rule that reads whole units errs towards its "no".
  return `"amount":"${amountText(amount.value)}","amount_whole":${wholeUnits(amount.value, true)}`
}

function budgetText({ budget }: Evidence): string {
  if (budget === undefined) return 'null'
  const { calls = null, bytes = null, amount, rate = null } = budget
  const [left, whole] = amount === undefined ? [null, null] : [`"${amountText(amount)}"`, wholeUnits(amount)]
  return `{"calls_left":${calls},"bytes_left":${bytes},"amount_left":${left},"amount_left_whole":${whole},"lease_rate_left":${rate}}`
}

function leaseText(lease: Lease): string {
  let text = leaseTexts.get(lease)
  if (text === undefined) {
    const { id, version, env, profile, profileVersion } = lease.agent
    const { system, id: taskId, purpose } = lease.task
    const fields = {
      id: lease.id,
      user: lease.user,
      agent: { id, version, env, profile, profile_version: profileVersion },
      task: { system, id: taskId, purpose },
      stage: lease.stage,
      session: lease.session,
      bound: lease.binding !== undefined,
      delegated_by: lease.delegatedBy,
      granted: lease.grants.map((grant) => ({
        actions: grant.actions,
        resource: grant.identifier,
        sensitivity: grant.sensitivity,
      })),
    }
    text = JSON.stringify(fields).slice(1, -1)
    leaseTexts.set(lease, text)
  }
  return text
}

function operationText(operation: Operation): string {
  let text = operationTexts.get(operation)
  if (text === undefined) {
    const { match, verb, sensitivity, risk } = operation
    text = JSON.stringify({ operation: match, verb, sensitivity, risk }).slice(1, -1)
    operationTexts.set(operation, text)
  }
  return text
}

function approvalText({ approval }: Evidence): string {
  return approval === undefined
    ? 'null'
    : JSON.stringify({ id: approval.id, approved_by: approval.approvedBy, kind: approval.kind })
}
