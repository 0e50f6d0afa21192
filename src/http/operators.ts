// Who may call the control listener: operators, each with a token of their own. In: a credential. Out: the
// operator, or nobody. Compares digests, in constant time; never prints a token.
import { createHash, timingSafeEqual } from 'node:crypto'
import type { Role } from './caller.ts'

export interface Operator {
  /** For the record: `operator`, or as configured. */
  readonly name: string
  /** Sees and ends leases of this tenant only; undefined: of all. */
  readonly tenant: string | undefined
  readonly roles: readonly Role[]
  /** Groups that an approver decides for. */
  readonly groups: readonly string[]
  /** SHA-256 of the token. */
  readonly digest: Buffer
}

/** An operator by their token. */
export function operator(
  name: string,
  token: string,
  {
    tenant,
    roles = ['operator', 'auditor'],
    groups = [],
  }: Partial<Pick<Operator, 'tenant' | 'roles' | 'groups'>> = {},
): Operator {
  return { name, tenant, roles, groups, digest: digestOf(token) }
}

/** Whose `Authorization` this is; undefined: nobody's. Looks at every operator, whoever it is. */
export function operatorOf(
  credential: string | undefined,
  operators: readonly Operator[],
): Operator | undefined {
  const token = /^bearer +(\S+)$/i.exec(credential ?? '')?.[1]
  if (token === undefined) return undefined
  const given = digestOf(token)
  let found: Operator | undefined
  for (const each of operators) if (timingSafeEqual(given, each.digest)) found = each
  return found
}

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
