// The part of compose.ts that makes the policy that decides, and those in shadow: configuration and store in;
// what decides now, what is known about where it comes from, and a row or two for `/readyz` out. Decides nothing.
import type { Config } from './config.ts'
import type { Readiness } from './http/health.ts'
import { activatedSource } from './policy/activated.ts'
import { type BundleSource, bundleSource } from './policy/bundle_source.ts'
import { type CandidatePolicy, openCandidate } from './policy/candidate.ts'
import { formatDiagnostic } from './policy/diagnostic.ts'
import type { PolicyModule } from './policy/evaluate.ts'
import { type LivePolicy, openPolicy, type PolicyEvent } from './policy/live.ts'
import { describeFollowing, type Following, isConverged } from './policy/rollout.ts'
import { directorySource, type PolicySource } from './policy/source.ts'
import type { Store } from './ports.ts'
import type { Logger } from './telemetry/log.ts'
import type { Metrics } from './telemetry/metrics.ts'
import type { GateObserver } from './telemetry/observer.ts'
import type { Shadow } from './telemetry/shadow.ts'
import type { GivenCandidate, GivenPolicy } from './workers/messages.ts'

/** What policy is made from. */
export interface PolicyNeeds {
  readonly config: Config
  readonly log: Logger
  readonly metrics: Metrics
  readonly observer: GateObserver
  readonly shadow: Shadow
  readonly store: Store
}

/** The policy that decides, with all that stands beside it. */
export interface ComposedPolicy extends Pick<LivePolicy, 'current'> {
  /** Reads everything again, changed or not; for SIGHUP. What fails is an event. */
  reloadNow(): Promise<void>
  /** What workers are given. */
  given(): GivenPolicy
  /** Calls back whenever that has changed. */
  watch(listener: () => void): void
  readiness(): readonly Readiness[]
  close(): Promise<void>
}

/** Opens the live policy, then the candidate. Rejects when nothing can decide; a candidate never keeps it. */
export async function composePolicy(needs: PolicyNeeds): Promise<ComposedPolicy> {
  const { config, metrics, shadow } = needs
  const place = policyPlace(needs)
  const listeners: (() => void)[] = []
  const tell = () => {
    for (const listener of listeners) listener()
  }
  const policy: LivePolicy = await openPolicy({
    source: place.source,
    onEvent(event) {
      changed(event, needs, () => policy)
      if (event.type === 'reloaded') tell()
    },
  })
  started(policy, place, needs)
  metrics.policyConverged(() => isConverged(place.following(), policy.current.digest))
  const { bundle } = place
  if (bundle !== undefined) metrics.bundleAge(() => ageSeconds(bundle))
  let tried: GivenCandidate | undefined
  const candidate = openShadowed(config, (event, module) => {
    shadow.candidate(event, module)
    tried = { number: (tried?.number ?? 0) + 1, event, module }
    tell()
  })
  return {
    get current() {
      return policy.current
    },
    async reloadNow() {
      await Promise.all([policy.reloadNow(), candidate?.reloadNow()])
    },
    given: () => ({
      digest: policy.current.digest,
      module: policy.module,
      ...(tried === undefined ? {} : { candidate: tried }),
    }),
    watch: (listener) => void listeners.push(listener),
    readiness: () => [
      // A policy in place is ready whatever became of its successor: only the detail tells.
      { name: 'policy', ready: true, detail: detailOf(policy, place, config) },
      // Whatever becomes of a policy in shadow, requests are decided without it.
      ...shadow.status().map(({ source, detail }) => ({ name: `shadow ${source}`, ready: true, detail })),
    ],
    async close() {
      await Promise.all([candidate?.close(), policy.close()])
    },
  }
}

interface PolicyPlace {
  readonly source: PolicySource
  /** What is known of activations: nothing, unless they are followed. */
  readonly following: () => Following
  readonly bundle?: BundleSource
}

/** Where policy comes from: bundles, activations or the directory. */
function policyPlace({ config: { policy }, store, log }: PolicyNeeds): PolicyPlace {
  const { dir, bundle: settings } = policy
  const reload = policy.reload === 'on_change' ? 'on_change' : 'never'
  if (settings !== undefined) {
    const onFault = (fault: string): void =>
      log.warn({ fault }, 'the policy bundle was not renewed; the policy before decides on')
    const bundle = bundleSource({ ...settings, reload, onFault })
    return { source: bundle, following: () => ({}), bundle }
  }
  const directory = directorySource(dir, { reload })
  if (policy.reload !== 'on_activate') return { source: directory, following: () => ({}) }
  const source = activatedSource(store.policySets, policy.needsActivation ? undefined : directory)
  return { source, following: source.following }
}

function started(policy: LivePolicy, place: PolicyPlace, needs: PolicyNeeds): void {
  const { config, log, metrics, observer, shadow } = needs
  const { digest, shadowRules } = policy.status()
  if (config.policy.reload === 'on_activate' && place.following().active === undefined) {
    // So it is before the first activation, and after the store has lost them all.
    log.warn({ policy_digest: digest }, 'nothing is activated: the policy directory decides')
  }
  metrics.policyInfo(digest)
  shadow.live(policy.module, digest)
  if (shadowRules === undefined) return
  observer.policy({ digest, shadow_rules: shadowRules })
  log.warn({ policy_digest: digest, shadow_rules: shadowRules }, 'rules in shadow take no part in decisions')
}

function changed(event: PolicyEvent, needs: PolicyNeeds, policy: () => LivePolicy): void {
  const { log, metrics, observer, shadow } = needs
  metrics.policyReload(event.type)
  if (event.type === 'rejected') {
    const rejected = event.diagnostics.map(formatDiagnostic)
    observer.policy({ rejected })
    log.error({ rejected }, 'policy rejected; the one before stays live')
    return
  }
  const { digest, activation, warnings = [] } = event
  const inShadow = event.shadowRules === undefined ? {} : { shadow_rules: event.shadowRules }
  metrics.policyInfo(digest)
  shadow.live(policy().module, digest)
  observer.policy({ digest, ...inShadow, ...(activation === undefined ? {} : { activation }) })
  log.info({ policy_digest: digest, ...inShadow, activated_by: activation?.by }, 'policy reloaded')
  for (const warning of warnings) log.warn({ warning: formatDiagnostic(warning) }, 'policy warning')
}

/** The candidate beside the live policy, when the configuration names one. The gate does not wait for it. */
function openShadowed(
  { policy }: Config,
  onEvent: (event: PolicyEvent, module: PolicyModule | undefined) => void,
): CandidatePolicy | undefined {
  if (policy.shadow === undefined) return undefined
  const reload = policy.reload === 'never' ? 'never' : 'on_change'
  const candidate = openCandidate({
    source: directorySource(policy.shadow.dir, { reload }),
    onEvent: (event) => onEvent(event, candidate.module),
  })
  return candidate
}

function detailOf(policy: LivePolicy, { following, bundle }: PolicyPlace, { policy: { reload } }: Config) {
  const { digest, lastError } = policy.status()
  const follows = reload === 'on_activate'
  const live = follows ? describeFollowing(following(), digest) : digest
  if (lastError === undefined) return `${live}${bundleDetail(bundle)}`
  const stays = follows ? live : `${live} stays live`
  return `${stays}; the newest was rejected: ${lastError}${bundleDetail(bundle)}`
}

/** `; bundle 2026-11-22.3, confirmed 12 s ago`; empty where policy does not come in bundles. */
function bundleDetail(bundle: BundleSource | undefined): string {
  if (bundle === undefined) return ''
  const { revision, fault } = bundle.status()
  const seconds = Math.round(ageSeconds(bundle))
  const state =
    fault === undefined ? `confirmed ${seconds} s ago` : `not confirmed for ${seconds} s: ${fault}`
  return `; bundle ${revision === '' ? 'without a revision' : revision}, ${state}`
}

function ageSeconds(bundle: BundleSource): number {
  return (Date.now() - bundle.status().confirmedAtMs) / 1000
}
