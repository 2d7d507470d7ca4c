import { useSignal } from "@preact/signals";
import type { ComponentChildren, ComponentType } from "preact";
import { useEffect } from "preact/hooks";
import { Unreachable } from "../post";
import { Failed } from "./failed";
import { lateTexts, t } from "../texts/spoken";

/** A part of the page whose script is fetched when it is first shown: the first view need not wait for it. Meanwhile
 * there are bones, or what is given. */
export function late<Props extends object = object>(
  fetched: () => Promise<ComponentType<Props>>,
  meanwhile: ComponentChildren = <div class="bone rows" aria-hidden="true" />,
): ComponentType<Props> {
  let part: ComponentType<Props> | null = null;

  return function Late(props: Props) {
    const failure = useSignal<Error | null>(null);
    const isThere = useSignal(part !== null);

    async function load() {
      failure.value = null;
      try {
        [part] = await Promise.all([fetched(), lateTexts()]);
        isThere.value = true;
      } catch {
        failure.value = new Unreachable(t.partFailed);
      }
    }

    useEffect(() => {
      if (!part) void load();
    }, []);

    const Part = isThere.value ? part : null;
    if (Part) return <Part {...props} />;
    if (failure.value) return <Failed error={failure.value} again={() => void load()} />;
    return meanwhile;
  };
}
