// Who is who, where people decide. In: names as leases, tokens and identity providers write them. Out: whether two
// stand for one person, and whom policy names. Pure. When in doubt two names are one person: that is a no.
import type { Person, Yes } from './action.ts'

/** A person as far as a yes keeps them. */
export type Identity = Pick<Person, 'user' | 'issuer' | 'subject'>

/** Not seen, or not there for everybody who reads it: it makes no other name. */
const unseen = /[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}]/gu

/**
 * A name without what two spellings of it could differ in: letter case, Unicode forms (UAX #15), spaces and what
 * nobody sees. For comparison only.
 */
export function foldName(name: string): string {
  let folded = name
  // Twice, as Unicode's own caseless match does (The Unicode Standard, D146): a fold can bring out a form to fold.
  for (let round = 0; round < 2; round++) {
    folded = folded.normalize('NFKD').replace(unseen, '').toUpperCase().normalize('NFKD').toLowerCase()
  }
  return folded.replace(unseen, '').normalize('NFKC')
}

/** Whether two are one: by name, or by what the identity provider calls them. */
export function isSamePerson(a: Identity, b: Identity): boolean {
  return isSameLogin(a, b) || foldName(a.user) === foldName(b.user)
}

/** Whether an identity provider would say that two are one. */
export function isSameLogin(
  a: Pick<Identity, 'issuer' | 'subject'>,
  b: Pick<Identity, 'issuer' | 'subject'>,
): boolean {
  return a.issuer === b.issuer && a.subject === b.subject
}

const groupPrefix = 'group:'

/** The name that policy names them by: exactly their own, or a group of theirs. Nobody is called `group:…`. */
export function namedAs({ user, groups }: Person, approvers: readonly string[]): string | undefined {
  return approvers.find((name) =>
    name.startsWith(groupPrefix) ? groups.includes(name.slice(groupPrefix.length)) : name === user,
  )
}

/** The yes of a person, where one of theirs stands under this name or login. */
export function yesOf(person: Identity, yes: readonly Yes[]): Yes | undefined {
  return yes.find(({ by }) => isSamePerson(by, person))
}
