import { useSignal } from "@preact/signals";
import type { ComponentChildren, ComponentType } from "preact";
import { useEffect } from "preact/hooks";
import { Unreachable } from "../post";
import { Failed } from "./failed";

/** A part of the page whose script is fetched when it is first shown: the first view need not wait for it. Meanwhile
 * there are bones, or what is given. */
export function late(
  fetched: () => Promise<ComponentType>,
  meanwhile: ComponentChildren = <div class="bone rows" aria-hidden="true" />,
): ComponentType {
  let part: ComponentType | null = null;

  return function Late() {
    const failure = useSignal<Error | null>(null);
    const isThere = useSignal(part !== null);

    async function load() {
      failure.value = null;
      try {
        part = await fetched();
        isThere.value = true;
      } catch {
        failure.value = new Unreachable("This part of the page could not be loaded.");
      }
    }

    useEffect(() => {
      if (!part) void load();
    }, []);

    const Part = isThere.value ? part : null;
    if (Part) return <Part />;
    if (failure.value) return <Failed error={failure.value} again={() => void load()} />;
    return meanwhile;
  };
}
