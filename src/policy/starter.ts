// In: backends of the configuration. Out: the texts of a first policy for them: data with sample names, and a
// test per operation. The rules themselves are those that ship and are not made here. Never reads or writes.
import { stringify } from 'yaml'
import type { Backend, Operation } from '../enforce/operation.ts'
import { sensitivities } from '../lease/lease.ts'
import { operationTests } from './starter_tests.ts'

/** Files of a starter by path relative to the policy directory, in the order to read them. */
export type Starter = Readonly<Record<string, string>>

const note = '# Names marked SAMPLE are made up: replace them, here and in operations_test.rego.'

/**
 * Data and tests that grant every operation of `backends` to one sample agent profile and one sample user, and
 * only reading to another of each. With the rules that ship its tests pass as they are.
 */
export function starter(backends: readonly Backend[]): Starter {
  return {
    'operations_test.rego': operationTests(backends),
    'data/profiles.yaml': profiles(backends),
    'data/users.yaml': users(backends),
    'data/groups.yaml': groups(backends),
    'data/approvers.yaml': approvers(backends),
    'data/tasks.yaml': tasks,
  }
}

function profiles(backends: readonly Backend[]): string {
  return `# What an agent may do at most, whoever it works for: data.profiles. A lease names one of these
# (leasegate lease issue --profile worker), and an agent never gets more than its user has (users.yaml). What
# leases it may be given is decided by issue.rego, from the same entry.
${note}
worker: # SAMPLE. Everything that the configuration maps.
  version: "1" # leases name it: count it up with every change of the profile
  stages: [observe, draft, execute] # observe only reads; draft and execute may also write
  backends:
${entitlements(backends, () => true)}
  calls_per_minute: { lease: 120, agent: 1200 } # of one lease, of all leases of the agent
  max_ttl_seconds: 300 # of one token
  max_lease_seconds: 3600 # of a lease, with all its renewals
  task_required: true # a lease names its task
  needs_binding: true # a lease is bound to a key that the agent holds
  delegates: false # may not hand a part of a lease on to another agent
reader: # SAMPLE. The same systems, reading only: a good first profile for a new agent.
  version: "1"
  stages: [observe]
  backends:
${entitlements(backends, reads)}
  calls_per_minute: { lease: 30, agent: 300 }
  max_ttl_seconds: 300
  max_lease_seconds: 3600
  task_required: true
  needs_binding: true
  delegates: false
leasegate-console: # Keep it: the console reads with it what stands there before a change, with the rights of who looks.
  version: "1"
  stages: [observe]
  backends:
${entitlements(backends, reads)}
  calls_per_minute: { lease: 60, agent: 1200 }
leasegate-drill: # Keep it: leasegate drill revoke calls the canary of a gate with it, and nothing else.
  version: "1"
  stages: [observe]
  backends:
    leasegate: { verbs: [read], ceiling: public }
  calls_per_minute: { lease: 1000000, agent: 1000000 }
`
}

function users(backends: readonly Backend[]): string {
  return `# What people may do without an agent: data.users. The keys are what \`sub\` says in your tokens.
${note}
alice@example.com: # SAMPLE. Has what her groups have (groups.yaml).
  groups: [owners]
bob@example.com: # SAMPLE. Is in no group, and may read in his own right.
  groups: []
  backends:
${entitlements(backends, reads)}
`
}

function groups(backends: readonly Backend[]): string {
  return `# What the members of a group may do: data.groups. Per backend the verbs, and the highest sensitivity.
${note}
owners: # SAMPLE
  backends:
${entitlements(backends, () => true)}
`
}

function approvers(backends: readonly Backend[]): string {
  const rows = backends.map(
    ({ name }) => `${plain(name)}:
  approvers: ["group:owners"] # SAMPLE. Of the identity provider, or people as leases name users
  expires_in: 600
  quorum: 1
  repeat: { calls: 5, seconds: 600 }`,
  )
  return `# Whom a call or a draft waits for, per backend: data.approvers. A backend that is not here has nobody to ask,
# and what needs a yes is refused (no_approver_named). expires_in: seconds until nobody can say yes any more. quorum:
# different people who have to. repeat: at most so many calls in so many seconds with one yes; without it each
# call waits. reason_required: true asks for a reason for any yes, not only for one to high risk. after_lease: seconds
# that a released draft is still executed in after its lease has ended; without it, none.
${note}
${rows.join('\n')}
`
}

const tasks = `# Tasks that no lease is given for any more, as system:id, for example jira:SUP-1: data.tasks.
closed: []
`

/** One line per backend, four spaces in: its verbs and the highest sensitivity among the operations kept. */
function entitlements(backends: readonly Backend[], keep: (operation: Operation) => boolean): string {
  return backends
    .map(({ name, operations }) => {
      const kept = operations.filter(keep)
      const verbs = [...new Set(kept.map(({ verb }) => verb))]
      const ceiling = sensitivities.findLast((word) => kept.some(({ sensitivity }) => sensitivity === word))
      return `    ${plain(name)}: { verbs: [${verbs.map(plain).join(', ')}], ceiling: ${ceiling ?? 'public'} }`
    })
    .join('\n')
}

/** As `reading` of the rules has it. */
function reads({ verb }: Operation): boolean {
  return verb === 'read' || verb === 'list'
}

/** A YAML scalar that stays a string: `null`, `true` and `1e3` get quotes. */
function plain(word: string): string {
  return stringify(word, { lineWidth: 0 }).trimEnd()
}
