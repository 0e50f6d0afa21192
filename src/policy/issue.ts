// In: a question of the broker. Out: the JSON text that `data.leasegate.issue.decision` is evaluated with, and
// its answer. Total: whatever a policy does, the worst that comes out is `deny` with its fault.
import type { IssueAnswer, IssuePolicy, IssueQuestion } from '../broker/issue_decision.ts'
import type { Task } from '../lease/lease.ts'
import { describe } from './answer.ts'
import type { Engine } from './evaluate.ts'
import { issueFailed, readIssueAnswer } from './issue_answer.ts'

/** The rule that decides what is issued, as OPA names entry points. */
export const issueEntrypoint = 'leasegate/issue/decision'

/** The days of `context.weekday`, as `Date` numbers them. */
export const weekdays = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const

/** The fault of a policy that says nothing about issuing. */
export const noIssueEntrypoint = `the policy has no entry point ${issueEntrypoint}`

/** What a module answers about issuing, under the digest of module and data. */
export function issuePolicy(engine: Engine, digest: string): IssuePolicy {
  return { digest, decide: (question) => askIssue(engine, question) }
}

/** What an engine's rule for issuing answers. Total: whatever goes wrong is `deny` with its fault. */
export function askIssue(engine: Engine, question: IssueQuestion): IssueAnswer {
  if (!engine.entrypoints.includes(issueEntrypoint)) return issueFailed(noIssueEntrypoint)
  try {
    return readIssueAnswer(engine.evaluate(issueEntrypoint, issueInput(question)))
  } catch (thrown) {
    return issueFailed(describe(thrown))
  }
}

/** The document that `data.leasegate.issue.decision` is evaluated with, as JSON text (issue_schema.ts). */
export function issueInput(question: IssueQuestion): string {
  const { kind, user, agent, delegatedBy, request, parent, approvedBy, now } = question
  const at = new Date(now * 1000)
  return JSON.stringify({
    version: 1,
    user: {
      id: user.id,
      kind: user.kind,
      issuer: user.issuer,
      groups: user.groups,
      auth_time: user.authTime ?? null,
      acr: user.acr ?? null,
    },
    agent: {
      id: agent.id,
      version: agent.version,
      env: agent.env,
      profile: agent.profile,
      tenant: agent.tenant,
      authenticated_by: agent.authenticatedBy,
      bound: agent.bound,
    },
    delegated_by: delegatedBy.map(({ id, version, profile }) => ({ id, version, profile })),
    request: {
      kind,
      details: request.details ?? null,
      backends: request.backends,
      stage: request.stage,
      ttl_seconds: request.ttlSeconds,
      lease_seconds: request.leaseSeconds,
      task: taskOf(request.task),
    },
    parent: parent === undefined ? null : { id: parent.id, stage: parent.stage, details: parent.details },
    context: {
      now,
      weekday: weekdays[at.getUTCDay()],
      hour: at.getUTCHours(),
      minute: at.getUTCMinutes(),
      approved_by: approvedBy ?? null,
    },
  })
}

function taskOf(task: Task | undefined): Task | null {
  return task === undefined ? null : { system: task.system, id: task.id, purpose: task.purpose }
}
