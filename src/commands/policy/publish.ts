// `leasegate policy publish`: a directory that passes its checks and tests goes into the state store, compiled,
// under its digest. No gate changes by it.
import type { Command } from 'commander'
import { type Diagnostic, PolicyError } from '../../policy/diagnostic.ts'
import { load } from '../../policy/live.ts'
import { type CompiledPolicy, packSet } from '../../policy/set.ts'
import { type PolicySources, readPolicy } from '../../policy/sources.ts'
import { type Outcome, runToolchain } from '../../policy/toolchain.ts'
import { loadStateConfig } from '../state_config.ts'
import { operator, say, sayJson, snaked, style } from '../terminal.ts'
import { directoryCommand, sayDiagnostics } from './directory.ts'
import { shortDigest, withSets } from './rollout.ts'

interface PublishOptions {
  readonly config: string
  readonly json?: boolean
}

/** Adds `policy publish [dir]`. */
export function addPublishCommand(policy: Command): void {
  directoryCommand(policy, 'publish', 'check, test and compile, then keep the result in the state store')
    .option('-c, --config <file>', 'configuration file', 'config.yaml')
    .action(run)
}

async function run(dir: string, { config: file, json }: PublishOptions): Promise<void> {
  const config = loadStateConfig(file)
  const { diagnostics, set } = await make(dir)
  if (json !== true) sayDiagnostics(dir, diagnostics)
  if (set === undefined) {
    if (json === true) sayJson(snaked({ ok: false, diagnostics }))
    process.exitCode = 1
    return
  }
  const { digest, packed } = set
  const publishedAt = Date.now() / 1000
  const isNew = await withSets(config, (sets) => sets.put({ digest, packed, publishedAt, by: operator() }))
  if (json === true)
    return sayJson(snaked({ ok: true, diagnostics, digest, new: isNew, bytes: packed.byteLength }))
  say(
    `${isNew ? style.green('published') : 'unchanged'} ${digest}  ${Math.ceil(packed.byteLength / 1024)} KiB`,
  )
  say(style.dim(`  leasegate policy activate ${shortDigest(digest)}`))
}

type Built = Outcome & Pick<PolicySources, 'shadow' | 'shadowRules'>

interface Made {
  readonly diagnostics: readonly Diagnostic[]
  /** Absent: the diagnostics say why. */
  readonly set?: Awaited<ReturnType<typeof packSet>>
}

/** The very sources that were tested, compiled, and loaded once as a gate would. */
async function make(dir: string): Promise<Made> {
  try {
    const sources = await readPolicy(dir)
    if (sources.wasm !== undefined) return await pack({ ...sources, wasm: sources.wasm })
    const built: Built = await runToolchain(sources, ['check', 'test', 'build', 'rehearse'])
    const { wasm, shadow, shadowRules, diagnostics } = built
    if (wasm === undefined) return { diagnostics }
    const marked = shadow === undefined ? {} : { shadow, shadowRules: shadowRules ?? [] }
    return await pack({ ...sources, wasm, ...marked }, diagnostics)
  } catch (thrown) {
    if (thrown instanceof PolicyError) return { diagnostics: thrown.diagnostics }
    throw thrown
  }
}

async function pack(policy: CompiledPolicy, diagnostics: readonly Diagnostic[] = []): Promise<Made> {
  await load(policy)
  return { diagnostics, set: await packSet(policy) }
}
