// In: a packed OPA bundle from outside and the keys that may have signed it. Out: the policy in it. The work is
// done by OPA's own code (regoc/bundle.go) in a process of its own: nothing hostile is unpacked in the gate.
// Never lets an unsigned bundle, or one file more or less than was signed, become policy.
import { PolicyError } from './diagnostic.ts'
import type { PolicySources } from './sources.ts'
import { runToolchain } from './toolchain.ts'

/** A public key that bundles may be signed with. */
export interface BundleKey {
  /** What `kid` or `keyid` in a signature calls it. */
  readonly id: string
  /** The only algorithm it is used with. */
  readonly algorithm: string
  /** PEM, `PUBLIC KEY`. */
  readonly pem: string
}

/** Whose signature a bundle has to carry, and under which scope. */
export interface BundleVerification {
  readonly keys: readonly BundleKey[]
  /** '' where signatures have none. */
  readonly scope: string
}

/** The policy in a bundle, and what its authors call this version of it ('' where they call it nothing). */
export interface SignedPolicy {
  readonly sources: PolicySources
  readonly revision: string
}

/**
 * Opens a bundle. Rejects with a `PolicyError` that begins with `name` when its signature is not good
 * (`bundle_signature_invalid`), when it is damaged or of a kind that is not served (`bundle_invalid`), or when
 * Rego in it cannot be parsed; with another error when the toolchain could not work, or on abort.
 */
export async function openSignedBundle(
  name: string,
  archive: Uint8Array,
  { keys, scope }: BundleVerification,
  signal?: AbortSignal,
): Promise<SignedPolicy> {
  const known = keys.map(({ id, algorithm, pem }) => [id, { key: pem, algorithm }] as const)
  const sealed = { archive, scope, keys: Object.fromEntries(known) }
  const outcome = await runToolchain({ files: {}, data: {}, bundle: sealed }, ['bundle'], signal)
  if (outcome.diagnostics.length > 0) {
    throw new PolicyError(
      outcome.diagnostics.map((each) =>
        each.file === '' ? { ...each, message: `${name}: ${each.message}` } : each,
      ),
    )
  }
  if (outcome.bundle === undefined) throw new Error('the Rego toolchain gave no bundle')
  const { revision, ...sources } = outcome.bundle
  return { sources, revision }
}
