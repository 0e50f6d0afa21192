// The part of compose.ts that makes what the console and programs read as it happens: parts in, endpoints out. Decides
// nothing.
import type { ComposedConsole } from './compose_console.ts'
import type { Closers, Parts } from './compose_parts.ts'
import { surroundings } from './config/blast_radius.ts'
import { agentEndpoints } from './http/agents.ts'
import type { Endpoint } from './http/control.ts'
import { decisionEndpoints } from './http/decisions.ts'
import { eventEndpoints } from './http/events.ts'
import { readStatus } from './http/status.ts'
import { isObject } from './lease/text.ts'
import type { ExplainJob } from './policy/explain_child.ts'
import { createExplainer } from './policy/explainer.ts'
import { parsePolicy, readPolicyFiles } from './policy/sources.ts'

/** `/events`, `/decisions` and `/agents`. */
export function composeLive(parts: Parts, { people }: ComposedConsole, closers: Closers): Endpoint[] {
  const { config, store, policy, identity, actions } = parts
  const explainer = createExplainer({
    digest: () => policy.current.digest,
    policy: () => policySources(parts),
  })
  const events = eventEndpoints({
    actions,
    deferrals: store.deferrals,
    auditFile: config.audit.file,
    status: () => readStatus({ store, clock: Date.now }),
    isSignedIn: (caller) => people.isSignedIn(caller),
    clock: Date.now,
  })
  closers.push(() => {
    events.close()
    explainer.close()
  })
  return [
    ...events.endpoints,
    ...decisionEndpoints({ auditFile: config.audit.file, actions, explain: explainer.explain }),
    ...agentEndpoints({
      store,
      clock: Date.now,
      around: (now) => surroundings(config, now),
      files: () => identity?.agents.all() ?? [],
      policyData: () => policy.given().module.data,
    }),
  ]
}

/** With its rules where it is read from a directory; else the module that decides. */
async function policySources({ config, policy }: Parts): Promise<Pick<ExplainJob, 'sources' | 'files'>> {
  const { dir, bundle, reload } = config.policy
  if (bundle !== undefined || reload === 'on_activate') {
    const { wasm, data } = policy.given().module
    return { sources: { files: {}, data: isObject(data) ? data : {}, wasm }, files: [] }
  }
  const files = await readPolicyFiles(dir)
  return { sources: parsePolicy(files), files: [...files.keys()] }
}
