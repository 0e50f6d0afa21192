// Who calls the control listener: a program by its operator token, or a person by their session. In: what proved
// it. Out: one caller, with what it may do. Types and small facts; checks nothing.
import type { Person } from '../approval/action.ts'
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
export function hasRole({ roles }: Caller, any: readonly Role[]): boolean {
  return roles.some((role) => role === 'admin' || any.includes(role))
}
