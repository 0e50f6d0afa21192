// In: the plain values of the file, valid or not. Out: the problems of its `tls` section: files that cannot be
// used, and URLs that say http where TLS is spoken. Never: key material in a message.
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { createSecureContext } from 'node:tls'
import type { ConfigPath } from './problems.ts'
import { errorCode } from './references.ts'
import { at, type Relation, type RelationScope, textAt } from './select.ts'

/** Every relation of `tls`. */
export const tlsRelations: readonly Relation[] = [tlsFilesFit, urlsSayHttps]

/** Whether the listener called `name` speaks TLS. */
export function speaksTls(root: unknown, name: string): boolean {
  return at(root, ['tls', name]) !== undefined
}

function tlsFilesFit(root: unknown, scope: RelationScope): void {
  for (const name of ['proxy', 'control']) {
    const path = ['tls', name]
    const cert = pemAt(root, [...path, 'cert'], scope)
    const key = pemAt(root, [...path, 'key'], scope)
    const ca = pemAt(root, [...path, 'client_ca'], scope)
    if (cert !== undefined) tryContext({ cert }, [...path, 'cert'], 'name a certificate in PEM form', scope)
    if (ca !== undefined) tryContext({ ca }, [...path, 'client_ca'], 'name certificates in PEM form', scope)
    if (key === undefined) continue
    tryContext({ key }, [...path, 'key'], 'name a private key in PEM form, without a passphrase', scope)
    if (cert !== undefined) {
      tryContext({ cert, key }, [...path, 'key'], 'name the private key of tls certificate', scope)
    }
  }
}

function pemAt(root: unknown, path: string[], scope: RelationScope): Buffer | undefined {
  const name = textAt(root, path)
  if (name === undefined) return undefined
  try {
    return readFileSync(resolve(scope.dir, name))
  } catch (error) {
    scope.report(path, `name a file that can be read: ${errorCode(error)}`)
    return undefined
  }
}

function tryContext(
  pem: Parameters<typeof createSecureContext>[0],
  path: ConfigPath,
  message: string,
  scope: RelationScope,
): void {
  try {
    createSecureContext(pem)
  } catch {
    scope.report(path, message)
  }
}

function urlsSayHttps(root: unknown, scope: RelationScope): void {
  const urls = [
    ['proxy', ['public_origin']],
    ['control', ['broker', 'issuer']],
  ] as const
  for (const [name, path] of urls) {
    const url = textAt(root, path)
    if (speaksTls(root, name) && url?.startsWith('http://') === true) {
      scope.report(path, `write https://…: tls.${name} is set`)
    }
  }
}
