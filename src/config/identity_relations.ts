// In: the plain values of the file. Out: what does not fit between identity providers, the broker and their
// keys. Never: opens a file, or asks a provider.
import { isKeyUrl } from '../lease/fetch.ts'
import { listeners, listenerUrl } from './listeners.ts'
import { at, type Relation, type RelationScope, reportRepeats, select, textAt } from './select.ts'

const providers = ['broker', 'identity_providers', '*']

/** The relations of `broker.identity_providers`. */
export const identityRelations: readonly Relation[] = [
  providersAreDistinct,
  providerKeysCanBeFound,
  brokerIsNoProvider,
  assertionsAreOfUsers,
]

function providersAreDistinct(root: unknown, scope: RelationScope): void {
  reportRepeats(select(root, [...providers, 'issuer']), scope, 'name each identity provider once')
}

function providerKeysCanBeFound(root: unknown, scope: RelationScope): void {
  for (const { path, value } of select(root, providers)) {
    const jwks = at(value, ['jwks'])
    const issuer = textAt(value, ['issuer'])
    if (jwks !== undefined) {
      const sources = ['url', 'file'].filter((key) => at(jwks, [key]) !== undefined)
      if (sources.length !== 1) scope.report([...path, 'jwks'], 'write exactly one of url and file')
    } else if (issuer !== undefined && !isKeyUrl(issuer)) {
      scope.report([...path, 'issuer'], 'add jwks: only an https issuer has a discovery document to read')
    }
  }
}

/** A lease token would be a token of a provider then. */
function brokerIsNoProvider(root: unknown, scope: RelationScope): void {
  const control = listeners(root).find((each) => each.path[1] === 'control')
  const own = textAt(root, ['broker', 'issuer']) ?? (control && listenerUrl(control))
  for (const { path, value } of select(root, [...providers, 'issuer'])) {
    if (value === own) scope.report(path, 'remove it: the broker speaks for nobody but itself')
  }
}

function assertionsAreOfUsers(root: unknown, scope: RelationScope): void {
  for (const { path, value } of select(root, providers)) {
    const subjects = textAt(value, ['subjects']) ?? 'users'
    for (const use of select(value, ['accept', '*'], path)) {
      if (use.value === 'id_jag' && subjects !== 'users') {
        scope.report(use.path, 'remove it, or write subjects: users: an id_jag is the word about a user')
      }
    }
  }
}
