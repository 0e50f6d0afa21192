// In: the plain values of the file, valid or not. Out: the problems that only show between two fields.
// Works on whatever is there, so that one misspelt key does not hide the rest. Never: changes a value.
import { accessSync, constants, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { approvalRelations } from './approvals.ts'
import { backendRelations } from './backend_relations.ts'
import { bundleRelations } from './bundle.ts'
import { identityRelations } from './identity_relations.ts'
import { listeners, listenerUrl } from './listeners.ts'
import type { ConfigPath } from './problems.ts'
import { redisRelations } from './redis.ts'
import { errorCode } from './references.ts'
import { parseSeconds } from './scalars.ts'
import { at, type Relation, type RelationScope, reportRepeats, select, textAt } from './select.ts'
import { speaksTls, tlsRelations } from './tls.ts'

/** Runs every relation. */
export function checkRelations(root: unknown, scope: RelationScope): void {
  for (const relation of relations) relation(root, scope)
}

const relations: readonly Relation[] = [
  listenersAreDistinct,
  stateFitsItsStore,
  ...redisRelations,
  issuersAreDistinct,
  keySourcesAreSingle,
  localIssuerIsTheBroker,
  ...identityRelations,
  filesAreReadable,
  ...tlsRelations,
  ...bundleRelations,
  approvalRelations,
  ...backendRelations,
]

function listenersAreDistinct(root: unknown, scope: RelationScope): void {
  const wildcard = ['0.0.0.0', '::']
  const found = listeners(root)
  for (const [index, { path, host, port }] of found.entries()) {
    const other = found
      .slice(0, index)
      .find(
        (e) => e.port === port && (e.host === host || wildcard.includes(e.host) || wildcard.includes(host)),
      )
    if (other === undefined || port === 0) continue
    scope.report(path, `choose another port: ${other.path.join('.')} listens there`)
  }
}

function stateFitsItsStore(root: unknown, scope: RelationScope): void {
  const has = (...path: string[]) => at(root, ['state', ...path]) !== undefined
  if (textAt(root, ['state', 'store']) !== 'redis') {
    for (const key of ['url', 'prefix', 'redis']) {
      if (has(key)) scope.report(['state', key], 'remove it, or set state.store to redis')
    }
    return
  }
  if (has('path')) scope.report(['state', 'path'], 'remove it: only the embedded store has a file')
  if (!has('url') && !has('redis'))
    scope.report(['state', 'store'], 'add state.redis.url: redis needs an address')
  for (const key of ['url', 'prefix', 'max_staleness', 'strict']) {
    if (has(key) && has('redis')) scope.report(['state', key], `write it once, as state.redis.${key}`)
  }
}

function issuersAreDistinct(root: unknown, scope: RelationScope): void {
  reportRepeats(select(root, ['issuers', '*', 'issuer']), scope, 'name each issuer once')
}

function keySourcesAreSingle(root: unknown, scope: RelationScope): void {
  for (const { path, value } of select(root, ['issuers', '*', 'jwks'])) {
    const sources = ['url', 'file', 'local'].filter((key) => at(value, [key]) !== undefined)
    if (sources.length !== 1) scope.report(path, 'write exactly one of url, file and local')
  }
}

function localIssuerIsTheBroker(root: unknown, scope: RelationScope): void {
  const control = listeners(root).find((e) => e.path[1] === 'control')
  const own =
    textAt(root, ['broker', 'issuer']) ?? (control && listenerUrl(control, speaksTls(root, 'control')))
  const ttl = parseSeconds(textAt(root, ['broker', 'ttl']) ?? '300s', '1s', '1h')
  for (const { path, value } of select(root, ['issuers', '*'])) {
    if (at(value, ['jwks', 'local']) === undefined) continue
    if (at(value, ['issuer']) !== own) {
      scope.report([...path, 'issuer'], "write the same as broker.issuer: local keys are the broker's")
    }
    const lifetime = parseSeconds(textAt(value, ['max_token_lifetime']) ?? '300s', '1s', '24h')
    if ('value' in ttl && 'value' in lifetime && ttl.value > lifetime.value) {
      scope.report(
        [...path, 'max_token_lifetime'],
        'raise it to broker.ttl at least: longer tokens are refused',
      )
    }
  }
  if (at(root, ['issuers']) === undefined && 'value' in ttl && ttl.value > 300) {
    scope.report(['broker', 'ttl'], 'write 300s at most, or list the issuer with a longer max_token_lifetime')
  }
}

function filesAreReadable(root: unknown, scope: RelationScope): void {
  const keys = select(root, ['issuers', '*', 'jwks', 'file'])
  const providerKeys = select(root, ['broker', 'identity_providers', '*', 'jwks', 'file'])
  for (const { path, value } of [...keys, ...providerKeys]) {
    reportUnreadable(path, String(value), 'isFile', scope)
  }
  const agents = textAt(root, ['broker', 'agents'])
  if (agents !== undefined) reportUnreadable(['broker', 'agents'], agents, 'isDirectory', scope)
  if (at(root, ['policy', 'bundle']) !== undefined) return
  const policyDir = textAt(root, ['policy', 'dir'])
  if (policyDir === undefined && textAt(root, ['policy', 'reload']) === 'on_activate') return
  reportUnreadable(['policy', 'dir'], policyDir ?? './policies', 'isDirectory', scope)
}

function reportUnreadable(
  path: ConfigPath,
  name: string,
  kind: 'isFile' | 'isDirectory',
  scope: RelationScope,
): void {
  const noun = kind === 'isFile' ? 'file' : 'directory'
  try {
    const full = resolve(scope.dir, name)
    accessSync(full, constants.R_OK)
    if (!statSync(full)[kind]()) scope.report(path, `name a ${noun}: this is something else`)
  } catch (error) {
    scope.report(path, `name a ${noun} that can be read: ${errorCode(error)}`)
  }
}
