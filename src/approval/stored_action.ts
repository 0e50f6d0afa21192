// In: the text of a stored action. Out: the action, or nothing where any member is not what this version writes: a
// guess at who has to say yes, or whether somebody did, would be an approval. Pure; repairs nothing.
import { isObject } from '../lease/text.ts'
import type { Action, ActionLease, ActionOutcome, ActionState, Yes } from './action.ts'
import type { Terms } from './terms.ts'

type Check = (value: unknown) => boolean

/** The action that `text` holds; undefined: it holds none, or one that is damaged or of a newer version. */
export function readAction(text: string): Action | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  return isAction(value) ? value : undefined
}

const isText: Check = (value) => typeof value === 'string'
const isFlag: Check = (value) => typeof value === 'boolean'
const isTime: Check = (value) => Number.isFinite(value)
const isCount: Check = (value) => Number.isSafeInteger(value) && Number(value) >= 0
const isPositive: Check = (value) => isCount(value) && value !== 0
const isName: Check = (value) => isText(value) && value !== ''
const listOf =
  (each: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(each)
const oneOf =
  <T extends string>(words: Readonly<Record<T, true>>): Check =>
  (value) =>
    typeof value === 'string' && Object.hasOwn(words, value)
const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value)
/** An object of which every member that is named holds. */
const having =
  <T>(members: Readonly<Record<keyof T, Check>>): Check =>
  (value) =>
    isObject(value) && Object.entries<Check>(members).every(([name, holds]) => holds(value[name]))

const states: Readonly<Record<ActionState, true>> = {
  pending: true,
  approved: true,
  refused: true,
  withdrawn: true,
  expired: true,
  used: true,
  executing: true,
  executed: true,
  failed: true,
}

const isTerms = having<Terms>({
  approvers: (value) => listOf(isName)(value) && (value as string[]).length > 0,
  expiresIn: isPositive,
  quorum: isPositive,
  reasonRequired: isFlag,
  afterLease: isCount,
  repeat: optional(having<NonNullable<Terms['repeat']>>({ calls: isPositive, seconds: isPositive })),
})

const isYes = having<Yes>({
  by: having<Yes['by']>({ user: isName, issuer: isName, subject: isName }),
  as: isName,
  at: isTime,
  reason: isText,
  shownBy: oneOf<Yes['shownBy']>({ session: true, passkey: true, token: true }),
  repeat: optional(having<NonNullable<Yes['repeat']>>({ calls: isPositive, seconds: isPositive })),
})

const isLease = having<ActionLease>({
  id: isName,
  issuer: isName,
  user: isName,
  agent: having<ActionLease['agent']>({ id: isName, version: isText, env: isText, profile: isText }),
  task: having<ActionLease['task']>({ system: isText, id: isText, purpose: isText }),
  session: isText,
  stage: oneOf<ActionLease['stage']>({ observe: true, draft: true, execute: true }),
})

const isOutcome = having<ActionOutcome>({
  decisionId: isName,
  status: optional(isCount),
  code: optional(isText),
  bytes: isCount,
  kept: isFlag,
  at: isTime,
})

const isWhole = having<Action>({
  id: isName,
  kind: oneOf<Action['kind']>({ hold: true, draft: true }),
  state: oneOf(states),
  fingerprint: isName,
  createdAt: isTime,
  expiresAt: isTime,
  decisionId: isName,
  what: having<Action['what']>({
    ...{
      backend: isName,
      operation: isName,
      verb: isName,
      resource: isName,
      sensitivity: isName,
      risk: isName,
    },
    ...{
      method: isName,
      path: isName,
      contentType: optional(isText),
      bodyBytes: isCount,
      bodyDigest: isName,
    },
  }),
  lease: isLease,
  said: having<Action['said']>({
    effect: oneOf<Action['said']['effect']>({ hold: true, draft: true }),
    reasons: listOf(isText),
    policyDigest: isName,
  }),
  terms: isTerms,
  yes: listOf(isYes),
  ended: optional(having<NonNullable<Action['ended']>>({ by: isText, at: isTime, reason: isText })),
  outcome: optional(isOutcome),
  aliveAt: optional(isTime),
})

function isAction(value: unknown): value is Action {
  return isWhole(value)
}
