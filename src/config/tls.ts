// In: the plain values of the file, valid or not. Out: the problems of its `tls` section: files that cannot be
// used, and URLs that say http where TLS is spoken. Never: key material in a message.
import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { createSecureContext } from 'node:tls'
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
    reportMisfits(root, ['tls', name], { cert: 'cert', key: 'key', authorities: 'client_ca' }, scope)
  }
}

/** Reports files under `path` that cannot be used; `names` says which key is which. */
export function reportMisfits(
  root: unknown,
  path: string[],
  names: { readonly cert: string; readonly key: string; readonly authorities: string },
  scope: RelationScope,
): void {
  const cert = pemAt(root, [...path, names.cert], scope)
  const key = pemAt(root, [...path, names.key], scope)
  const ca = pemAt(root, [...path, names.authorities], scope)
  const report = (member: string, message: string) => scope.report([...path, member], message)
  if (cert !== undefined && !makesContext({ cert })) report(names.cert, 'name a certificate in PEM form')
  if (ca !== undefined && !holdsCertificates(ca)) report(names.authorities, 'name certificates in PEM form')
  if (key === undefined) return
  if (!makesContext({ key })) report(names.key, 'name a private key in PEM form, without a passphrase')
  else if (cert !== undefined && makesContext({ cert }) && !makesContext({ cert, key })) {
    report(names.key, 'name the private key of the certificate beside it')
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

function makesContext(pem: Parameters<typeof createSecureContext>[0]): boolean {
  try {
    createSecureContext(pem)
    return true
  } catch {
    return false
  }
}

/** A TLS context takes any text for a list of authorities, and then trusts none. */
function holdsCertificates(pem: Buffer): boolean {
  const blocks =
    pem.toString('latin1').match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? []
  try {
    return blocks.map((block) => new X509Certificate(block)).length > 0
  } catch {
    return false
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
