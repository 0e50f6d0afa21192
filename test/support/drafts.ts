// Drafts in tests: an agent makes one over a real socket, somebody says yes in the store as the console would, and a
// gate executes it. Never looks into a gate.
import { readFileSync } from 'node:fs'
import { type Action, isOver } from '../../src/approval/action.ts'
import { Actions, type KeptAction } from '../../src/approval/actions.ts'
import { createSealer } from '../../src/approval/seal.ts'
import { authority, eventually, type TestGate } from './gate.ts'
import type { RawAnswer } from './raw.ts'
import type { Json } from './tokens.ts'

/** What is needed of a gate, in this process or another. */
export type Place = Pick<TestGate, 'config' | 'store' | 'ask'>

/** The actions of a gate's store, as another process has them. */
export async function actionsOf(gate: Place): Promise<Actions> {
  const secret = readFileSync(gate.config.approvals.keyFile, 'utf8').trim()
  return new Actions((await gate.store()).records, createSealer(secret))
}

/** A token whose writes become drafts. */
export function draftToken(gate: Pick<TestGate, 'token'>, claims: Json = {}, lease: Json = {}): string {
  return gate.token(claims, { stage: 'draft', ...lease })
}

export interface Write {
  readonly token: string
  readonly method?: string
  readonly target?: string
  /** Further fields, `Name: value`. */
  readonly fields?: readonly string[]
  readonly body?: string | Uint8Array
}

/** Sends any request with exactly these bytes. */
export function send(
  gate: Place,
  { token, method = 'PATCH', target = '/crm/customers/9821', fields = [], body }: Write,
): Promise<RawAnswer> {
  const lines = [
    `${method} ${target} HTTP/1.1`,
    `Host: ${authority}`,
    `Authorization: Bearer ${token}`,
    ...fields,
  ]
  if (body !== undefined) lines.push(`Content-Length: ${Buffer.byteLength(body)}`)
  return gate.ask(
    Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), Buffer.from(body ?? '')]),
  )
}

/** The task document of an answer. */
export function taskOf({ body }: RawAnswer): Json {
  return JSON.parse(body.toString()) as Json
}

/** Makes a draft; throws when it becomes none. */
export async function makeDraft(gate: Place, write: Write): Promise<string> {
  const answer = await send(gate, write)
  if (answer.status !== 202) throw new Error(`no draft: ${answer.status} ${answer.body}`)
  return String(taskOf(answer).id)
}

/** Carol, an owner, says yes to what she has been shown. False: it is another action by now. */
export async function release(gate: Place, id: string, shown?: KeptAction): Promise<boolean> {
  const actions = await actionsOf(gate)
  const kept = shown ?? (await actions.get(id))
  if (kept === undefined) throw new Error('there is no such draft')
  const by = { user: 'carol@example.com', issuer: 'https://login.example', subject: 'carol' }
  const yes = [{ by, as: 'group:crm-owners', at: Date.now() / 1000, reason: '', shownBy: 'session' as const }]
  return (await actions.change(kept, { ...kept.action, state: 'approved', yes })) !== undefined
}

/** The action once it is over. */
export async function ended(gate: Place, id: string, seconds = 15): Promise<Action> {
  const actions = await actionsOf(gate)
  let action: Action | undefined
  const over = async () => {
    action = (await actions.get(id))?.action
    return action !== undefined && isOver(action, 0)
  }
  await eventually(over, `the end of ${id}`, seconds)
  if (action === undefined) throw new Error('there is no such draft')
  return action
}
