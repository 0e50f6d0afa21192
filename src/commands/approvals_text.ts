// What waits for a human, as people read it on a terminal. In: documents of the control listener. Out: lines. Pure;
// never a character of somebody else that does not show, or that passes for another: as on the page of the console.
import { hexRows, textOf } from '../console/bytes.js'
import { plain } from '../console/visible.js'
import { isObject } from '../lease/text.ts'
import { aligned, duration, style } from './terminal.ts'

type Json = Record<string, unknown>

/** One row each. */
export function listText(actions: readonly Json[], now: number): string[] {
  const rows = actions.map((action) => {
    const { id, kind, state, expires_at: expiresAt } = action
    const { verb, resource, backend, risk } = of(action, 'what')
    const { user, agent } = of(action, 'lease')
    const what = verb === null ? `a lease for ${name(backend)}` : `${name(verb)} ${name(resource)}`
    const left = state === 'pending' ? `${duration(Number(expiresAt) - now)} left` : name(state)
    const agentName = name(isObject(agent) ? agent.id : undefined)
    return [name(id), name(kind), what, `risk ${name(risk)}`, `${agentName} for ${name(user)}`, left]
  })
  return aligned(rows, [])
}

/** Who asks for what, and the call exactly as it was sent. */
export function showText(action: Json, now: number): string[] {
  const { id, kind, state, fingerprint, expires_at: expiresAt } = action
  const { verb, resource, risk, sensitivity, operation } = of(action, 'what')
  const { user, agent, task, id: lease } = of(action, 'lease')
  const { may, why_not: whyNot, reason_required: needsReason } = of(action, 'you')
  const { id: agentId, version } = isObject(agent) ? agent : {}
  const { system, id: taskId, purpose } = isObject(task) ? task : {}
  const left = state === 'pending' ? `, ${duration(Number(expiresAt) - now)} left` : ''
  const facts = [
    ['what', `${name(verb)} ${name(resource)} (${name(operation)})`],
    ['risk', `${name(risk)}, ${name(sensitivity)}`],
    ['agent', `${name(agentId)} ${name(version)} for ${name(user)}`],
    ['lease', name(lease)],
    ['task', `${name(system)} ${name(taskId)}`],
    ['it says', words(purpose)],
    ['fingerprint', name(fingerprint)],
  ]
  const reason = needsReason === true ? ' --reason …' : ''
  return [
    `${style.bold(name(id))}  ${name(kind)} ${name(state)}${left}`,
    ...aligned(facts, []).map((line) => `  ${line}`),
    '',
    ...(action.call === undefined || action.call === null
      ? requestText(action)
      : callText(of(action, 'call'))),
    '',
    may === true
      ? style.dim(`leasegate approvals approve ${name(id)} --fingerprint ${name(fingerprint)}${reason}`)
      : style.dim(`you cannot decide on it: ${name(whyNot)}`),
  ]
}

function callText({ method, target, headers, body_base64: base64 }: Json): string[] {
  const fields = (Array.isArray(headers) ? headers : []).map(
    ([field, value]) => `${name(field)}: ${name(value)}`,
  )
  const bytes = Buffer.from(String(base64 ?? ''), 'base64')
  return [style.bold(`${name(method)} ${name(target)}`), ...fields, '', ...bodyText(bytes)]
}

/** Text where the bytes are UTF-8, else rows of hex: nothing is replaced on the way. */
function bodyText(bytes: Uint8Array): string[] {
  if (bytes.byteLength === 0) return [style.dim('no body')]
  // A line feed is shown as the line that it ends; what else breaks lines is marked.
  return textOf(bytes)?.split('\n').map(words) ?? hexRows(bytes)
}

/** A token request has no call: what is asked for. */
function requestText({ request }: Json): string[] {
  if (!isObject(request)) return [style.yellow('what was sent cannot be shown any more')]
  return JSON.stringify(request, null, 2).split('\n').map(words)
}

function of(action: Json, member: string): Json {
  const value = action[member]
  return isObject(value) ? value : {}
}

function name(value: unknown): string {
  return value === undefined || value === null ? '–' : plain(String(value), { names: true })
}

function words(value: unknown): string {
  return value === undefined || value === null ? '–' : plain(String(value))
}
