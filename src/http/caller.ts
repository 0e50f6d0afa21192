// Who calls the control listener: a program by its operator token, or a person by their session. In: what proved
// it. Out: one caller, with what it may do. Types and small facts; checks nothing.
import type { Person } from '../approval/action.ts'
import { type Refusal, refuse } from '../refusals.ts'
import type { Operator } from './operators.ts'

/** `approver`: decides where policy names them. `operator`: revokes, suspends. `auditor`: reads. `admin`: all three. */
export type Role = 'approver' | 'operator' | 'auditor' | 'admin'

export interface Caller {
  readonly by: 'token' | 'session'
  /** As the record names them. */
  readonly person: Person
  readonly roles: readonly Role[]
  /** Sees and ends leases of this tenant only; undefined: of all. */
  readonly tenant: string | undefined
  /** Of a person: their session, when they last showed the provider who they are (seconds since 1970), and how. */
  readonly session?: { readonly id: string; readonly authTime: number; readonly acr: string | undefined }
}

/** The issuer of persons that are programs. */
export const programIssuer = 'leasegate:operators'

/** A program. */
export function callerOf({ name, tenant, roles, groups }: Operator): Caller {
  return { by: 'token', person: { user: name, issuer: programIssuer, subject: name, groups }, roles, tenant }
}

/** Whether a caller has one of these roles; an admin has them all. */
export function hasRole({ roles }: Pick<Caller, 'roles'>, any: readonly Role[]): boolean {
  return roles.some((role) => role === 'admin' || any.includes(role))
}

/** Who may look at leases and what became of calls. */
export const readers = ['operator', 'auditor'] as const satisfies readonly Role[]

/** Who may look at what waits and at what became of calls, each at their part of it. */
export const lookers = ['approver', 'operator', 'auditor'] as const satisfies readonly Role[]

/** Who may end, hold and let go leases. */
export const changers = ['operator'] as const satisfies readonly Role[]

/** `operator_not_allowed`, with the roles that would do. */
export function notAllowed(roles: readonly Role[]): Refusal {
  return refuse('operator_not_allowed', { detail: `this needs the role ${roles.join(' or ')}` })
}

/** Whether a lease is one that a caller sees and ends. Nobody's, where nobody asks. */
export function isWithin(caller: Caller | undefined, { tenant }: { readonly tenant: string }): boolean {
  return caller !== undefined && (caller.tenant === undefined || caller.tenant === tenant)
}
