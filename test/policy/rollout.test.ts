import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  describeFollowing,
  digestsNamed,
  type Following,
  isConverged,
  rollbackPath,
} from '../../src/policy/rollout.ts'
import type { Activation } from '../../src/ports.ts'

/** `A B <A`: A and B activated, then rolled back to A; oldest first. */
function historyOf(text: string): Activation[] {
  const rest = { by: 'test', at: 0, reason: '' }
  const steps = text.split(' ').filter((step) => step !== '')
  return steps
    .map((step, i): Activation => {
      const kind = step.startsWith('<') ? 'rollback' : 'activate'
      return { number: i + 1, digest: step.replace('<', ''), kind, ...rest }
    })
    .toReversed()
}

describe('rolling back', () => {
  it.each([
    ['', []],
    ['A', []],
    ['A B', ['A']],
    ['A B C', ['B', 'A']],
    ['A B C <B', ['A']],
    ['A B C <B <A', []],
    ['A B C <B <A C', ['A']],
    ['A B <A B', ['A']],
    ['A B A', ['B', 'A']],
    ['A B A <B', ['A']],
    // The oldest activations are no longer known.
    ['<B C', ['B']],
    ['<B <A', []],
    ['<B <A C D <C', ['A']],
  ])('after %j leads to %j', (text, path) => {
    expect(rollbackPath(historyOf(text))).toEqual(path)
  })

  it('leads step by step through whatever was active, and ends at the first', () => {
    const digests = fc.array(fc.constantFrom('A', 'B', 'C', 'D'), { minLength: 1, maxLength: 12 })
    fc.assert(
      fc.property(digests, (picked) => {
        const activated = picked.filter((digest, i) => digest !== picked[i - 1])
        let history = historyOf(activated.join(' '))
        const walked: string[] = []
        for (let [next] = rollbackPath(history); next !== undefined; [next] = rollbackPath(history)) {
          walked.push(next)
          history = [{ ...history[0]!, digest: next, kind: 'rollback' }, ...history]
        }
        expect(walked).toEqual(activated.slice(0, -1).toReversed())
      }),
    )
  })
})

describe('a prefix', () => {
  const sets = ['sha256:ab12', 'sha256:ab34', 'sha256:cd56'].map((digest) => ({
    digest,
    publishedAt: 0,
    by: 'test',
  }))

  it.each([
    ['sha256:cd', ['sha256:cd56']],
    ['cd56', ['sha256:cd56']],
    ['ab', ['sha256:ab12', 'sha256:ab34']],
    ['ef', []],
    ['cd567', []],
  ])('%s names %j', (text, digests) => {
    expect(digestsNamed(text, sets)).toEqual(digests)
  })
})

describe('a gate that follows', () => {
  const [active] = historyOf('A')
  const table: readonly (readonly [Following, boolean, string])[] = [
    [{}, true, 'A from the policy directory, nothing is activated'],
    [{ active: active! }, true, 'A, activation 1 by test'],
    [{ active: { ...active!, digest: 'B' } }, false, 'A stays live, active is B'],
    [{ active: active!, fault: 'Redis: timed out' }, false, 'A, activation 1 by test; Redis: timed out'],
  ]
  it.each(table)('having heard %j, has converged: %j', (following, converged, text) => {
    expect(isConverged(following, 'A')).toBe(converged)
    expect(describeFollowing(following, 'A')).toBe(text)
  })
})
