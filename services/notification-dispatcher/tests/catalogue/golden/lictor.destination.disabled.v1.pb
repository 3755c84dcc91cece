
evt_01KG8Q2Y00000000000000000Alictor.destination.disabled.v1license-central"	subject-1(0:€σωΪB700-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01H›ξ’2
dst_01KG8Q2Y00000000000000000Jwords for people