// Work that comes in together shares a transaction, and nothing else.
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { GroupCommit } from '../../src/stores/group_commit.ts'

/** Transactions on a list, and how many there were; `before` runs ahead of each and may refuse it. */
function ledger(before: () => Promise<void> = async () => {}) {
  let committed: readonly string[] = []
  let open: string[] = []
  const sizes: number[] = []
  const group = new GroupCommit(async (work) => {
    await before()
    open = [...committed]
    work()
    sizes.push(open.length - committed.length)
    committed = open
  })
  const write = (text: string) =>
    group.add(() => {
      open.push(text)
      return `${text}!`
    })
  return { group, write, sizes, committed: () => committed }
}

describe('group commit', () => {
  it('puts what comes in together into one transaction, in order, and answers each', async () => {
    const { write, sizes, committed } = ledger()
    expect(await Promise.all(['a', 'b', 'c'].map(write))).toEqual(['a!', 'b!', 'c!'])
    expect(committed()).toEqual(['a', 'b', 'c'])
    expect(sizes).toEqual([3])
    expect(await write('d')).toBe('d!')
    expect(sizes).toEqual([3, 1])
  })

  it('answers nobody before the commit', async () => {
    const gate = Promise.withResolvers<void>()
    const { write, committed } = ledger(() => gate.promise)
    let answered = false
    const writing = write('a').then(() => {
      answered = true
    })
    await sleep(20)
    expect(answered).toBe(false)
    expect(committed()).toEqual([])
    gate.resolve()
    await writing
    expect(committed()).toEqual(['a'])
  })

  it('one piece that throws fails alone, and leaves nothing of itself behind', async () => {
    const { group, write, committed } = ledger()
    const bad = group.add(() => {
      throw new RangeError('no')
    })
    const results = await Promise.allSettled([write('a'), bad, write('b'), group.add(() => undefined)])
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled'])
    await expect(bad).rejects.toThrow(RangeError)
    expect(committed()).toEqual(['a', 'b'])
  })

  it('a transaction that cannot be had fails all that waited for it, and none that come later', async () => {
    let refuse = true
    const { write, committed } = ledger(async () => {
      if (refuse) throw new Error('busy')
    })
    const results = await Promise.allSettled([write('a'), write('b')])
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    refuse = false
    expect(await write('c')).toBe('c!')
    expect(committed()).toEqual(['c'])
  })

  it('holds everybody up by a hundred pieces at most, and takes in all of a thousand', async () => {
    const { write, sizes, committed } = ledger()
    const texts = Array.from({ length: 1000 }, (_, i) => String(i))
    await Promise.all(texts.map(write))
    expect(committed()).toEqual(texts)
    expect(Math.max(...sizes)).toBe(100)
  })

  it('what is added while a transaction is under way waits for the next one', async () => {
    const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    let at = 0
    const { write, sizes } = ledger(() => gates[at++]!.promise)
    const first = write('a')
    await sleep(5)
    const second = [write('b'), write('c')]
    gates[0]!.resolve()
    gates[1]!.resolve()
    await Promise.all([first, ...second])
    expect(sizes).toEqual([1, 2])
  })
})
