// How people name agents and tasks.
import { expect, test } from 'vitest'
import { parseAgent, parseTask } from '../../src/broker/names.ts'

test.each([
  ['support-triage', 'agent:support-triage', undefined],
  ['support-triage@3.2.1', 'agent:support-triage', '3.2.1'],
  ['agent:support-triage@3.2.1', 'agent:support-triage', '3.2.1'],
  ['workflow:nightly', 'workflow:nightly', undefined],
  ['a@b@1', 'agent:a@b', '1'],
  ['@1', 'agent:@1', undefined],
])('%s is the agent %s in version %s', (text, id, version) => {
  expect(parseAgent(text)).toEqual({ id, version })
})

test.each([
  ['SUP-4711', 'task', 'SUP-4711'],
  ['jira:SUP-4711', 'jira', 'SUP-4711'],
  ['gh:org/repo#1:2', 'gh', 'org/repo#1:2'],
])('%s is of system %s: %s', (text, system, id) => {
  expect(parseTask(text)).toEqual({ system, id })
})
