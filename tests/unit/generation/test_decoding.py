"""What the model is asked for at each step."""

from loradrift.generation.decoding import decode, inputs_for, left_padded


def test_only_the_last_logits_are_made_where_only_those_are_used(engine, monkeypatch):
    lm = engine.backbone.causal_lm
    shapes, forward = [], lm.forward

    def noted(*args, **kwargs):
        output = forward(*args, **kwargs)
        shapes.append(tuple(output.logits.shape[:2]))
        return output

    monkeypatch.setattr(lm, "forward", noted)
    prompts = [(1, 2, 3, 4), (5, 6)]
    asked = {"temperature": 0.0, "seeds": [0, 0], "stops": (), "started": 0.0}
    decode(lm, prompts, max_tokens=3, **asked)
    assert shapes == [(2, 1)] * 3
    whole = inputs_for(lm, *left_padded(prompts, lm.device))
    assert "logits_to_keep" not in whole
