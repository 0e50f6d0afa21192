// In: `policy.bundle` of the file. Out: the settings of the bundle source, its key files read; and what is wrong
// between its keys. Never: a private key, or a key that does not fit the algorithm it is named with.
import { createPublicKey, type KeyObject } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { BundleSettings } from '../policy/bundle_source.ts'
import { errorCode, hideSecret } from './references.ts'
import type { Outcome } from './scalars.ts'
import type { ParsedConfig } from './schema.ts'
import { at, type Relation, type RelationScope, reportRepeats, select, textAt } from './select.ts'

type ParsedBundle = NonNullable<ParsedConfig['policy']['bundle']>

/** Settings as the bundle source takes them. The URL, which may be signed, and the credential print redacted. */
export function buildBundle(file: ParsedBundle, dir: string): BundleSettings {
  const { url, credential, poll, verification } = file
  const keys = verification.keys.map(({ id, algorithm, file }) => {
    const key = readBundleKey(resolve(dir, file), algorithm)
    if ('fault' in key) throw new Error(`${file}: ${key.fault}`)
    return { id, algorithm, pem: key.value }
  })
  return {
    place: url === undefined ? { file: resolve(dir, file.file!) } : hideSecret({ url }, 'url'),
    pollMs: poll,
    verification: { keys, scope: verification.scope },
    ...(credential === undefined ? {} : { credential: hideSecret({ ...credential }, 'value') }),
    cache: resolve(dir, file.cache),
  }
}

/** What only shows between two keys of `policy.bundle`, or in the files it names. */
export const bundleRelations: readonly Relation[] = [
  placeIsSingle,
  bundleStandsAlone,
  bundleIsNotActivated,
  keysFit,
]

function placeIsSingle(root: unknown, scope: RelationScope): void {
  for (const { path, value } of select(root, ['policy', 'bundle'])) {
    const places = ['url', 'file'].filter((key) => at(value, [key]) !== undefined)
    if (places.length !== 1) scope.report(path, 'write exactly one of url and file')
    if (at(value, ['url']) === undefined && at(value, ['credential']) !== undefined) {
      scope.report([...path, 'credential'], 'remove it: only a url is asked with one')
    }
    const file = textAt(value, ['file'])
    const cache = textAt(value, ['cache']) ?? './data/bundle.tar.gz'
    if (file !== undefined && resolve(scope.dir, file) === resolve(scope.dir, cache)) {
      scope.report([...path, 'cache'], 'name another file: this is the bundle itself')
    }
  }
}

function bundleStandsAlone(root: unknown, scope: RelationScope): void {
  if (at(root, ['policy', 'bundle']) === undefined || at(root, ['policy', 'dir']) === undefined) return
  scope.report(['policy', 'dir'], 'write one of dir and bundle: policy comes from one place')
}

function bundleIsNotActivated(root: unknown, scope: RelationScope): void {
  if (at(root, ['policy', 'bundle']) === undefined || textAt(root, ['policy', 'reload']) !== 'on_activate')
    return
  scope.report(['policy', 'reload'], 'write on_change or never: bundles and activations cannot both decide')
}

function keysFit(root: unknown, scope: RelationScope): void {
  const keys = ['policy', 'bundle', 'verification', 'keys', '*']
  reportRepeats(select(root, [...keys, 'id']), scope, 'name each key once')
  for (const { path, value } of select(root, keys)) {
    const file = textAt(value, ['file'])
    const algorithm = textAt(value, ['algorithm'])
    if (file === undefined || algorithm === undefined || !Object.hasOwn(fits, algorithm)) continue
    const key = readBundleKey(resolve(scope.dir, file), algorithm)
    if ('fault' in key) scope.report([...path, 'file'], key.fault)
  }
}

/** The public key in a PEM file, as one `PUBLIC KEY` block, when it is one for `algorithm`. */
function readBundleKey(path: string, algorithm: string): Outcome<string> {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    return { fault: `name a key file that can be read: ${errorCode(error)}` }
  }
  // Node would derive the public key: the private one has no business on this machine.
  if (text.includes('PRIVATE KEY')) {
    return { fault: 'put the public key there (openssl pkey -pubout): whoever has this one can sign' }
  }
  try {
    const key = createPublicKey(text)
    if (fits[algorithm]?.(key) !== true) return { fault: `name a key for ${algorithm}: this one is not` }
    return { value: key.export({ type: 'spki', format: 'pem' }) as string }
  } catch {
    return { fault: 'name a public key or a certificate in PEM form' }
  }
}

const onCurve = (curve: string) => (key: KeyObject) => key.asymmetricKeyDetails?.namedCurve === curve
const isRsa = (key: KeyObject) =>
  key.asymmetricKeyType === 'rsa' && (key.asymmetricKeyDetails?.modulusLength ?? 0) >= 2048

/** Whether a key is one for the algorithm (RFC 7518 §3.1): those of OPA that no shared secret is used with. */
const fits: Readonly<Record<string, (key: KeyObject) => boolean>> = {
  ES256: onCurve('prime256v1'),
  ES384: onCurve('secp384r1'),
  ES512: onCurve('secp521r1'),
  RS256: isRsa,
  RS384: isRsa,
  RS512: isRsa,
  PS256: isRsa,
  PS384: isRsa,
  PS512: isRsa,
}
